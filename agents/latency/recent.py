"""The last minutes of what the gate decided and executors did, by workflow: counts and distributions, in slots of time.

A slot is a tenth of the window, so what is shown is of the last window and at most a tenth more; memory is bounded by
workflows, slots and bins, whatever the traffic.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from agents.latency.spread import bin_of, quantiles
from streams.foreign import object_of

STAGES = ("inference", "producer", "transport", "queue", "gate")
AGE, ACTUATION, SHARE = "age", "actuation", "share"  # share: permille of the budget
SERIES = (*STAGES, AGE, ACTUATION, SHARE)
PERCENTS = (50, 95, 99)
OUTPUTS = ("commands", "reviews", "exceptions", "reevaluations")
SLOTS = 10
WORKFLOWS_MAX = 200  # only those that have a policy are looked at, whatever name a producer writes
NOT_AGED_FAMILIES = frozenset({"duplicate", "invalid"})


@dataclass(slots=True)
class Slot:
    """One stretch of time of one workflow."""

    counts: Counter[str] = field(default_factory=Counter)
    spreads: dict[str, Counter[int]] = field(default_factory=dict)
    deadlines: Counter[int] = field(default_factory=Counter)  # of its commands, as numbers of slots

    def note(self, series: str, number: int) -> None:
        """Adds one number to a distribution."""
        self.spreads.setdefault(series, Counter())[bin_of(number)] += 1

    def add(self, other: Slot) -> None:
        """Adds all of another slot."""
        self.counts.update(other.counts)
        self.deadlines.update(other.deadlines)
        for series, counts in other.spreads.items():
            self.spreads.setdefault(series, Counter()).update(counts)


@dataclass(frozen=True, slots=True)
class Told:
    """One workflow over the window. `quantiles`: by series p50, p95 and p99 (milliseconds; the share in permille)."""

    workflow: str
    counts: Counter[str]
    quantiles: dict[str, list[int]]
    due: int = 0  # commands past their deadline

    @property
    def unanswered(self) -> int:
        """At least so many of those that are due have no receipt: a receipt may be for one that is not due yet."""
        return max(0, self.due - self.counts["receipts"])

    @property
    def stale_share(self) -> float | None:
        """Of what was decided, how much was stale."""
        decided = sum(self.counts[kind] for kind in OUTPUTS)
        return self.counts["stale"] / decided if decided else None

    @property
    def expired_share(self) -> float | None:
        """Of the commands, how many expired before an executor could act; more than 1 where those are older."""
        return self.counts["expired"] / self.counts["commands"] if self.counts["commands"] else None


class Recent:
    """Takes records as they are read, with the broker's time of each."""

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self._slot_ms = max(1, window_ms // SLOTS)
        self._slots: dict[str, dict[int, Slot]] = {}

    def add(self, kind: str, value: bytes | None, at_ms: int) -> None:
        """One record of an output topic or of `receipts`; what cannot be read is left out."""
        body = object_of(value)
        if body is None or not isinstance(workflow := body.get("workflow"), str):
            return
        if kind != "receipts" and (body.get("kind") != "disposition" or body.get("policy") is None):
            return
        if workflow not in self._slots and len(self._slots) >= WORKFLOWS_MAX:
            return
        slot = self._slots.setdefault(workflow, {}).setdefault(at_ms // self._slot_ms, Slot())
        if kind == "receipts":
            _receipt(slot, body)
        else:
            _output(slot, kind, body)
            if kind == "commands" and isinstance(deadline_ms := body.get("deadline_ms"), int):
                slot.deadlines[deadline_ms // self._slot_ms] += 1

    def told(self, now_ms: int) -> list[Told]:
        """What the window holds, by workflow; forgets what is older."""
        found = []
        for workflow, slots in sorted(self._slots.items()):
            for number in [one for one in slots if one < (now_ms - self.window_ms) // self._slot_ms]:
                del slots[number]
            whole = Slot()
            for slot in slots.values():
                whole.add(slot)
            if whole.counts:
                measured = {name: quantiles(whole.spreads.get(name, Counter()), PERCENTS) for name in SERIES}
                known = {name: values for name, values in measured.items() if values is not None}
                past = now_ms // self._slot_ms
                due = sum(count for number, count in whole.deadlines.items() if number < past)
                found.append(Told(workflow, whole.counts, known, due))
        self._slots = {workflow: slots for workflow, slots in self._slots.items() if slots}
        return found


def _receipt(slot: Slot, body: dict[str, Any]) -> None:
    slot.counts["receipts"] += 1
    slot.counts["expired"] += body.get("status") == "expired"
    started_ms, gated_ms = body.get("started_at_ms"), body.get("gated_at_ms")
    if isinstance(started_ms, int) and isinstance(gated_ms, int):
        slot.note(ACTUATION, started_ms - gated_ms)


def _output(slot: Slot, kind: str, body: dict[str, Any]) -> None:
    family = str(body.get("reason")).partition(".")[0]
    slot.counts[kind] += 1
    slot.counts["stale"] += family == "stale" or body.get("reasons") == ["stale"]
    age_ms, stages = body.get("age_ms"), body.get("stages_ms")
    if not isinstance(age_ms, int) or not isinstance(stages, dict) or family in NOT_AGED_FAMILIES:
        return
    slot.note(AGE, age_ms)
    for stage in STAGES:
        if isinstance(span_ms := stages.get(stage), int):
            slot.note(stage, span_ms)
    budget_ms = _budget_ms(kind, body, age_ms)
    if budget_ms > 0:
        slot.note(SHARE, age_ms * 1000 // budget_ms)


def _budget_ms(kind: str, body: dict[str, Any], age_ms: int) -> int:
    """What the age was held against: the budget, or what the producer's expiry left of it; 0 where it is not known."""
    if kind in ("exceptions", "reevaluations"):
        budget_ms = body.get("budget_ms")
    else:
        until_ms, gated_ms = (
            body.get("deadline_ms" if kind == "commands" else "fresh_until_ms"),
            body.get("gated_at_ms"),
        )
        if not isinstance(until_ms, int) or not isinstance(gated_ms, int):
            return 0
        budget_ms = until_ms - (gated_ms - age_ms)
    return budget_ms if isinstance(budget_ms, int) else 0
