"""Admission: how much of a queue can be decided in time, from the times at which its records came; and a pace to keep.

The queue is first in, first out, so its age moves by a simple law: if records came at `arrivals_per_s`, and a share of
them is decided at `capacity_per_s`, the age changes by 1 - capacity / (arrivals * share) seconds a second. The law is
solved for the share: nothing is shed below `start_ms`; from there the share falls evenly until, at `hold_ms`, it is the
one that keeps the age where it is; beyond, the one that brings it back. So the share follows the age without a switch
to flip, and settles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# a shed record takes at most half of a full decision, its way over the broker included (tests/bench/shedding.py)
SHED_COST = 0.5
_ARRIVALS_SPAN_MS = 50  # append times are in ms, and of whole producer batches: shorter spans say little
_ARRIVALS_MS = 500.0  # how far back arrivals are averaged, in the broker's time
SAVED_MS = 250  # of a pace: longer than the event loop, a fetch or a transaction keeps a batch from its time
_CAPACITY_WEIGHT = 0.2  # of one batch: one that was held up, by the broker or a pause, moves it by a fifth at most

Recent = Mapping[str, NDArray[np.int64]]  # what records were worth, and how much time they had left, of late


@dataclass(frozen=True, slots=True)
class Flow:
    """What is known of the flow through one partition number. Rates are records a second; None: not known yet.

    `capacity_per_s` counts decisions in full. It is `fixed` where somebody has set it; then shedding takes nothing
    from it. Else it is measured, and a shed record takes SHED_COST.
    """

    capacity_per_s: float | None = None
    fixed: bool = False
    arrivals_per_s: float | None = None
    sampled_ms: int | None = None  # append time up to which arrivals were sampled
    counted: int = 0  # records since then
    decided_ms: int | None = None  # when the batch before was decided
    work: float = 0.0  # what it took, in full decisions
    owed: float = 0.0  # the fraction of a record that was still to be shed

    def seen(self, oldest_ms: int, newest_ms: int, count: int, now_ms: int) -> Flow:
        """With a batch of `count` records, appended from `oldest_ms` to `newest_ms`, that is decided at `now_ms`."""
        return self._arrived(oldest_ms, newest_ms, count)._paced(newest_ms, now_ms)

    def _arrived(self, oldest_ms: int, newest_ms: int, count: int) -> Flow:
        since_ms = oldest_ms if self.sampled_ms is None else self.sampled_ms
        counted, span_ms = self.counted + count, newest_ms - since_ms
        if span_ms < _ARRIVALS_SPAN_MS:
            return replace(self, counted=counted, sampled_ms=since_ms)
        rate_per_s = counted / span_ms * 1000
        if self.arrivals_per_s is not None:
            rate_per_s += (self.arrivals_per_s - rate_per_s) * math.exp(-span_ms / _ARRIVALS_MS)
        return replace(self, arrivals_per_s=rate_per_s, counted=0, sampled_ms=newest_ms)

    def _paced(self, newest_ms: int, now_ms: int) -> Flow:
        if self.fixed or self.decided_ms is None:
            return self
        took_ms = now_ms - self.decided_ms
        # all of it has waited for two batches and more: there was always something to do
        if took_ms <= 0 or now_ms - newest_ms < 2 * took_ms:
            return self
        capacity_per_s = self.work / took_ms * 1000
        if self.capacity_per_s is not None:
            capacity_per_s = self.capacity_per_s + (capacity_per_s - self.capacity_per_s) * _CAPACITY_WEIGHT
        return replace(self, capacity_per_s=capacity_per_s)

    def share(self, age_ms: float, start_ms: float, hold_ms: float) -> float:
        """What share of a queue of this age is to be decided in full, 0 ... 1. Needs `start_ms` < `hold_ms`."""
        if age_ms <= start_ms or self.capacity_per_s is None or self.arrivals_per_s is None:
            return 1.0
        over = (age_ms - start_ms) / (hold_ms - start_ms)
        # beyond `hold_ms`, as much faster as brings the excess down with a time constant of hold - start
        speed_per_s = self.arrivals_per_s * max(1.0, over)
        cost = 0.0 if self.fixed else SHED_COST
        keeps = (self.capacity_per_s / speed_per_s - cost) / (1 - cost) if speed_per_s > 0 else 1.0
        keeps = min(1.0, max(0.0, keeps))
        return 1 - min(1.0, over) * (1 - keeps)

    def done(self, decided: int, shed: int, owed: float, now_ms: int) -> Flow:
        """With what became of the batch: so many in full, so many shed, and the fraction that was left over."""
        return replace(self, work=decided + SHED_COST * shed, decided_ms=now_ms, owed=owed)


class Learnt(NamedTuple):
    """What a partition number knows of its queue."""

    flow: Flow
    recent: Recent


class Pace:
    """Keeps a stage to `per_s` full decisions a second: what was taken at once has to be waited for afterwards."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._until_ms = 0.0
        self._at_ms = 0

    def wait_ms(self, now_ms: int) -> float:
        """How long to wait before the next batch; never longer than what was taken is worth, whatever clocks do."""
        return max(0.0, min(self._until_ms - self._at_ms, self._until_ms - now_ms))

    def take(self, count: int, now_ms: int) -> None:
        """Notes `count` decisions at `now_ms`. Times are in milliseconds.

        What a late wake-up lost is made good, up to SAVED_MS; more time that was not used is not saved up.
        """
        free_ms = max(min(self._until_ms, now_ms + self.wait_ms(now_ms)), now_ms - SAVED_MS)
        self._until_ms = free_ms + count / self.per_s * 1000
        self._at_ms = now_ms
