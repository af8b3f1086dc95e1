"""What came out of the gate, counted from the outputs themselves: by workflow, kind and reason, in time and money."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.demo.receipts import Receipts, share_permille
from streams.foreign import own_json

KINDS = ("commands", "reviews", "exceptions")
STAGES = ("inference", "producer", "transport", "queue", "gate")
BROKER_AND_GATE = ("transport", "queue", "gate")  # what is ours; the rest happened before it was sent
PERCENTILES = (50, 95, 99)

# Money that is not held back: a repeat asks for what its first record asked for already.
NOT_MONEY_FAMILIES = frozenset({"duplicate"})
NOT_AGED_FAMILIES = frozenset({"duplicate", "invalid"})


@dataclass(slots=True)
class Tally:
    """Dispositions and receipts read back, read_committed; `shares_permille` is each decision's age by its budget."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # workflow, kind, reason
    money_minor: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    families: Counter[str] = field(default_factory=Counter)
    stages_ms: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    shares_permille: list[int] = field(default_factory=list)
    receipts: Receipts = field(default_factory=Receipts)

    def add(self, kind: str, value: bytes) -> None:
        """Counts one output or receipt; of outputs, later steps than the disposition are not what is counted here."""
        if kind == "receipts":
            self.receipts.add(value)
            return
        body = own_json(value)
        if kind == "commands":
            self.receipts.add_command(body)
        if body.get("kind") != "disposition":
            return
        reasons = body["reasons"] if kind == "reviews" else [body["reason"]]
        line = (body.get("workflow") or "-", kind, "+".join(reasons))
        self.counts[line] += 1
        self.kinds[kind] += 1
        if kind == "exceptions":
            self.families[reasons[0].partition(".")[0]] += 1
        self.money_minor[line] += _value_minor(body)
        if (share := _share_permille(kind, body, reasons[0])) is not None:
            self.shares_permille.append(share)
        if kind == "commands":
            self._add_stages(body)

    def _add_stages(self, body: dict[str, Any]) -> None:
        stages = body["stages_ms"]
        for stage in STAGES:
            if stage in stages:
                self.stages_ms[stage].append(stages[stage])
        self.stages_ms["sent to decided"].append(sum(stages.get(stage, 0) for stage in BROKER_AND_GATE))
        self.stages_ms["age"].append(body["age_ms"])

    @property
    def answered(self) -> int:
        return self.kinds.total()

    def executed_minor(self) -> int:
        return self.receipts.money_minor["executed"]

    def acted_minor(self) -> int:
        return sum(amount for (_, kind, _), amount in self.money_minor.items() if kind == "commands")

    def waiting_minor(self) -> int:
        return sum(amount for (_, kind, _), amount in self.money_minor.items() if kind == "reviews")

    def held_back_minor(self) -> int:
        return sum(
            amount
            for (_, kind, reason), amount in self.money_minor.items()
            if kind == "exceptions" and reason.partition(".")[0] not in NOT_MONEY_FAMILIES
        )

    def latency(self) -> dict[str, dict[str, int]]:
        """Percentiles of the commands' decision latency, by stage."""
        return {
            stage: {f"p{percent}": percentile(sorted(self.stages_ms[stage]), percent) for percent in PERCENTILES}
            for stage in (*STAGES, "sent to decided", "age")
            if self.stages_ms.get(stage)
        }


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that `percent` of all are not above (nearest rank)."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def _value_minor(body: dict[str, Any]) -> int:
    inner = body.get("decision")
    source = body if "value_minor" in body or not isinstance(inner, dict) else inner
    amount = source.get("value_minor")
    return amount if isinstance(amount, int) else 0


def _share_permille(kind: str, body: dict[str, Any], reason: str) -> int | None:
    """None where no budget was held against the age: what is no decision, and what was one before."""
    age_ms = body.get("age_ms")
    if age_ms is None or reason.partition(".")[0] in NOT_AGED_FAMILIES:
        return None
    if kind == "exceptions":
        budget_ms = body.get("budget_ms")
    else:
        until_ms = body["deadline_ms"] if kind == "commands" else body["fresh_until_ms"]
        budget_ms = until_ms - (body["gated_at_ms"] - age_ms)
    return None if not budget_ms or budget_ms <= 0 else share_permille(age_ms, budget_ms)
