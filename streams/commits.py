"""Commits: how long a lane's transactions take, from the reading of the clock that decides to the commit.

So much is kept back of what is left to a decision: one that could not survive its own transaction is stale before it
begins, instead of undoing a batch of others at its end.
"""

from __future__ import annotations

from collections import deque

KEPT = 100  # the last transactions, which at any load are of the last seconds to minutes
QUANTILE = 0.95  # the rest is decided again, which costs its neighbours one transaction and nothing is lost
FIRST_MS = 50  # before any is known: what a transaction takes on a broker that has just been warmed
AT_MOST_MS = 500  # a stalled broker must not end what would be in time once it goes on; reviews keep back as much
AGAIN = 2  # after one that came too late: so many times what it took, without a bound, so that it ends


class Commits:
    """The transactions of one lane."""

    def __init__(self) -> None:
        self._taken_ms: deque[float] = deque(maxlen=KEPT)
        self._late_ms = 0.0

    @property
    def kept_back_ms(self) -> int:
        """What the next transaction is expected to take at most."""
        rising = sorted(self._taken_ms)
        usual_ms = rising[int(QUANTILE * (len(rising) - 1))] if rising else FIRST_MS
        return int(max(min(usual_ms, AT_MOST_MS), AGAIN * self._late_ms)) + 1

    def took(self, ms: float) -> None:
        """One was committed, in this time."""
        self._taken_ms.append(ms)
        self._late_ms = 0.0

    def was_late(self, ms: float) -> None:
        """One was undone, after this time, because a deadline in it had passed; the batch is decided again."""
        self._late_ms = max(self._late_ms, ms)
