"""The oracle: what could have been issued in time, had one known everything beforehand.

Unit jobs, each with the span of slots in which it may run, and a value. The sets that fit are a matroid (each job is
matched to a place in a slot), so taking the most valuable first, whenever all taken so far still fit, is the optimum.
Whether one more fits is found by moving others: a job's span is an interval, so what can be reached is one as well,
and an interval that was once searched in vain is full for ever.

Slots are a few ms wide and a job may use the slot it arrives in and the one its deadline is in: never too strict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class _Reach(NamedTuple):
    """The slots that can be made free, and the move that added the last of them: `job` out of `slot`."""

    left: int
    right: int
    slot: int
    job: int


class Slots:
    """`count` slots with `size` places each."""

    def __init__(self, count: int, size: int) -> None:
        self._size = size
        self._jobs: list[dict[int, tuple[int, int]]] = [{} for _ in range(count)]  # job -> its span
        self._earliest = np.arange(count)  # of what a slot holds, the earliest slot where one may be instead
        self._latest = np.arange(count)
        self._next = list(range(count + 1))  # the first slot from here on that has room, by union-find
        self._closed = np.full(count, -1)  # the last slot of the full interval that this one was found in

    def take(self, job: int, first: int, last: int) -> bool:
        """Finds a place in `first` ... `last` for a job, moving others; False when there is none."""
        slot = self._room(first)
        if slot > last:
            if self._closed[first] >= last:
                return False
            reached = self._search(first, last)
            if reached is None:
                return False
            slot = self._free(reached)
        self._put(job, slot, (first, last))
        return True

    def _room(self, slot: int) -> int:
        root = slot
        while self._next[root] != root:
            root = self._next[root]
        while self._next[slot] != root:
            self._next[slot], slot = root, self._next[slot]
        return root

    def _put(self, job: int, slot: int, span: tuple[int, int]) -> None:
        jobs = self._jobs[slot]
        jobs[job] = span
        self._earliest[slot] = min(self._earliest[slot], span[0])
        self._latest[slot] = max(self._latest[slot], span[1])
        if len(jobs) == self._size and self._next[slot] == slot:
            self._next[slot] = slot + 1

    def _pop(self, job: int, slot: int) -> tuple[int, int]:
        jobs = self._jobs[slot]
        span = jobs.pop(job)
        self._earliest[slot] = min([slot, *(one[0] for one in jobs.values())])
        self._latest[slot] = max([slot, *(one[1] for one in jobs.values())])
        return span

    def _search(self, left: int, right: int) -> list[_Reach] | None:
        """How the interval grows until a slot with room is in it; None when it stops growing before."""
        reached = [_Reach(left, right, -1, -1)]
        while True:
            late = left + int(np.argmax(self._latest[left : right + 1]))
            early = left + int(np.argmin(self._earliest[left : right + 1]))
            if self._latest[late] > right:
                edge, job = self._extreme(late, 1)
                reached.append(_Reach(left, edge, late, job))
                has_room = self._room(right + 1) <= edge
            elif self._earliest[early] < left:
                edge, job = self._extreme(early, 0)
                reached.append(_Reach(edge, right, early, job))
                has_room = self._room(edge) < left
            else:
                self._closed[left : right + 1] = np.maximum(self._closed[left : right + 1], right)
                return None
            left, right = reached[-1].left, reached[-1].right
            if has_room:
                return reached

    def _extreme(self, slot: int, side: int) -> tuple[int, int]:
        jobs = self._jobs[slot]
        job = (max if side else min)(jobs, key=lambda one: jobs[one][side])
        return jobs[job][side], job

    def _free(self, reached: list[_Reach]) -> int:
        """Moves jobs along, from the one that finds room back to one within the first interval: its slot."""
        last, before = reached[-1], reached[-2]
        at = self._room(before.right + 1) if last.right > before.right else self._room(last.left)
        step = len(reached) - 1
        while step:
            slot, job = reached[step].slot, reached[step].job
            self._put(job, at, self._pop(job, slot))
            at = slot
            while step and reached[step - 1].left <= at <= reached[step - 1].right:
                step -= 1
        return at


def best(
    arrivals_ms: Sequence[int],
    deadlines_ms: Sequence[int],
    values: Sequence[int],
    capacity_per_s: float,
    slot_ms: int = 50,
) -> int:
    """The greatest value that can be issued in time at this capacity. Times are from 0, in milliseconds."""
    size = round(capacity_per_s * slot_ms / 1000)
    slots = Slots(max(deadlines_ms, default=0) // slot_ms + 1, size)
    total = 0
    for job in sorted(range(len(values)), key=lambda one: -values[one]):
        first, last = arrivals_ms[job] // slot_ms, (deadlines_ms[job] - 1) // slot_ms
        if first <= last and slots.take(job, first, last):
            total += values[job]
    return total
