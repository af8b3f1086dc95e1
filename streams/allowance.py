"""The actuation allowance, measured: how long it takes from the issue of a command to its execution, by receipts.

p95 over the receipts of the last 10 minutes, at most 1,000 of them, per workflow and partition number. Until 50 have
come the policy's `initial` holds; and again when fewer than 50 are left, so an allowance that has grown until nothing
is issued any more heals by itself. The result stays within the policy's `at_least` and `at_most`.

What an executor found expired on arrival took at least until then; that is what it counts with. The start is by the
executor's clock and the issue by ours: where the clocks differ so that the start comes first, it counts as 0.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from schemas.receipt import Receipt
from streams.foreign import Reader, Unreadable
from streams.policy import Policy
from streams.terms import Reserve

WINDOW_MS = 600_000
RECEIPTS_MAX = 1_000  # of one workflow; more make p95 no better and the past last longer
RECEIPTS_MIN = 50  # p95 of fewer is one or two receipts
_PER_CENT = 95

Heard = Literal["counted", "skewed", "not_measured", "repeated", "unreadable", "out_of_order"]
_receipt = Reader(Receipt, again=False)


class _Took(NamedTuple):
    came_ms: int
    took_ms: int
    command_id: str


class _Measured:
    """One workflow: the receipts in the window in the order in which they came, and their times in order of length."""

    def __init__(self, index: int, reserve: Reserve) -> None:
        self.index = index
        self._reserve = reserve
        self._window: deque[_Took] = deque()
        self._sorted: list[int] = []
        self._known: set[str] = set()

    def add(self, took: _Took) -> bool:
        if took.command_id in self._known:
            return False
        if len(self._window) == RECEIPTS_MAX:
            self._forget_oldest()
        self._window.append(took)
        self._known.add(took.command_id)
        insort(self._sorted, took.took_ms)
        return True

    def allowance_ms(self, now_ms: int) -> int:
        while self._window and self._window[0].came_ms <= now_ms - WINDOW_MS:
            self._forget_oldest()
        count = len(self._sorted)
        if count < RECEIPTS_MIN:
            return self._reserve.initial_ms
        p95_ms = self._sorted[-(-count * _PER_CENT // 100) - 1]
        return min(max(p95_ms, self._reserve.at_least_ms), self._reserve.at_most_ms)

    def _forget_oldest(self) -> None:
        oldest = self._window.popleft()
        self._known.discard(oldest.command_id)
        del self._sorted[bisect_left(self._sorted, oldest.took_ms)]


class Allowances:
    """What is kept back for the executors of one partition number, by policy index, for policies that measure it."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._workflows = {
            one.workflow: _Measured(one.index, one.freshness.reserve)
            for one in policies
            if one.freshness.reserve.measured
        }

    def add(self, value: bytes | None, came_ms: int) -> Heard:
        """Takes in one record of `receipts`; `came_ms`, epoch, is the broker's time of it. Says what it was good for.

        `skewed` is counted too, as 0. `not_measured` says nothing of the time to execution: another workflow, or a
        command that was refused, lost, or never started.
        """
        receipt = _receipt(value)
        if isinstance(receipt, Unreadable):
            return "unreadable"
        measured = self._workflows.get(receipt.workflow)
        until_ms = _until_ms(receipt)
        if measured is None or until_ms is None:
            return "not_measured"
        if until_ms > receipt.at_ms:
            return "out_of_order"
        took_ms = until_ms - receipt.gated_at_ms
        if not measured.add(_Took(came_ms, max(took_ms, 0), receipt.command_id)):
            return "repeated"
        return "counted" if took_ms >= 0 else "skewed"

    def present_ms(self, now_ms: int) -> dict[int, int]:
        """For `Memory.allowances_ms`: milliseconds by policy index. Cheap enough for every batch."""
        return {one.index: one.allowance_ms(now_ms) for one in self._workflows.values()}


def _until_ms(receipt: Receipt) -> int | None:
    if receipt.status == "expired":
        return receipt.at_ms
    return receipt.started_at_ms if receipt.status in ("executed", "failed") else None
