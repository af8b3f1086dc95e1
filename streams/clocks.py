"""Clocks: whether this machine's clock can be believed, and what time it is.

Whoever forgets ids, opens windows of exposure or lets something expire does so by the time; and on the strength of one
reading nobody may. Two others know better than a clock by itself. The steady clock, which nobody sets, shows a step as
soon as it happens. And the broker, whose time of a record that is just being written lies between the readings before
and after, tells which of two is right, whichever way they are apart.

The time is this clock's, and never earlier than a broker's time that was seen, as far as both agree. While a step is
not explained it goes on at the steady clock's pace.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

# What policies tolerate of their producers' clocks unless they say otherwise; and so much longer than its final
# deadline an id is remembered, so clocks that differ by less make nothing forgotten that could become a command again.
TOLERANCE_MS = 2_000


class Reading(NamedTuple):
    """Both clocks at one moment, in milliseconds: this machine's, and the steady one's since whenever."""

    wall_ms: int
    steady_ms: int

    def later(self, steady_ms: int) -> int:
        """What this machine's clock should show at another moment of the steady one."""
        return self.wall_ms + steady_ms - self.steady_ms


class Clocks:
    """What one process knows of its clock. `compared`: whether the broker's time has been told at all."""

    def __init__(self) -> None:
        self.compared = False
        self._believed: Reading | None = None
        self._stepped: tuple[int, int] | None = None  # what the clock shows, and what it should
        self._apart: tuple[int, int] | None = None  # this clock, and the broker's
        self._newest_ms = 0

    def now_ms(self, now: Reading) -> int:
        """The time, from a reading of this moment."""
        before, time_ms = self._believed, now.wall_ms
        expected_ms = time_ms if before is None else before.later(now.steady_ms)
        if abs(time_ms - expected_ms) > TOLERANCE_MS:
            self._stepped = (time_ms, expected_ms)
            time_ms = expected_ms
        else:
            self._stepped, self._believed = None, now
        return max(time_ms, min(self._newest_ms, time_ms + TOLERANCE_MS))

    def saw(self, broker_ms: int, now: Reading) -> None:
        """A broker has written something at this time: it is that late. What is far ahead says nothing."""
        if self._newest_ms < broker_ms <= self.now_ms(now) + TOLERANCE_MS:
            self._newest_ms = broker_ms

    def compare(self, sent: Reading, broker_ms: int, acknowledged: Reading) -> None:
        """Holds this clock against the broker's time of a record that was sent and acknowledged at these moments."""
        if abs(acknowledged.wall_ms - sent.later(acknowledged.steady_ms)) > TOLERANCE_MS:
            return  # it stepped in between: the next one tells
        self.compared = True
        if sent.wall_ms - TOLERANCE_MS <= broker_ms <= acknowledged.wall_ms + TOLERANCE_MS:
            self._apart = self._stepped = None
            self._believed = acknowledged
            if self._newest_ms > broker_ms + TOLERANCE_MS:
                self._newest_ms = broker_ms  # the broker's own clock was set back, and this one agrees
            self.saw(broker_ms, acknowledged)
        else:
            self._apart = (acknowledged.wall_ms, broker_ms)

    @property
    def trouble(self) -> str | None:
        """What is waited for before anything may be decided by this clock, as far as it was read; None: nothing."""
        if self._apart is not None:
            own_ms, broker_ms = self._apart
            return f"the clocks to agree: here it is {_told(own_ms)}, at the broker {_told(broker_ms)}"
        if self._stepped is not None:
            own_ms, expected_ms = self._stepped
            told = f"here it became {_told(own_ms)} where {_told(expected_ms)} was expected"
            return f"the clocks to agree: {told}, and the broker has not confirmed it"
        return None if self.compared else "the time of the broker, to hold this clock against"

    @property
    def apart(self) -> bool:
        """Whether this clock and the broker's are known to differ, or a step is not explained."""
        return self._apart is not None or self._stepped is not None


def _told(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    except (OverflowError, ValueError, OSError):
        return f"{ms} ms"
