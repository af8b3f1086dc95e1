"""What a replay under other policies is held against, as arithmetic: from what to what, how often, how much value.

A shape is what a disposition looks like; a cell counts the decisions that went from one shape to another. Values are
summed as magnitudes, in integers, by currency: a refund is not negative, and currencies do not add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ABSENT = "absent"  # an attempt that would not have been there, because nobody would have asked for it
CATEGORIES = (
    "command",
    "review",
    "blocked",
    "reevaluation",
    "stale",
    "duplicate",
    "invalid",
    "halted",
    "shed",
    "other",
    ABSENT,
)
_OUTPUTS = {"commands": "command", "reviews": "review", "reevaluations": "reevaluation", ABSENT: ABSENT}
_FAMILIES = {
    "boundary": "blocked",
    "stale": "stale",
    "reevaluation": "stale",
    "duplicate": "duplicate",
    "superseded": "duplicate",
    "invalid": "invalid",
    "halted": "halted",
    "shed": "shed",
}


class Shape(NamedTuple):
    """A disposition without what is only one decision's. `reason`: those of a review are joined with a plus."""

    workflow: str | None
    output: str
    reason: str
    rule: str | None
    policy: str | None

    @property
    def category(self) -> str:
        """One of `CATEGORIES`."""
        return _OUTPUTS.get(self.output) or _FAMILIES.get(self.reason.partition(".")[0], "other")

    def agrees(self, other: Shape) -> bool:
        """Whether output, reason and rule are the same; the version of the policy may differ."""
        return self.output == other.output and self.reason == other.reason and self.rule == other.rule


class Example(NamedTuple):
    """One decision of a cell, as it can be looked up: `at_ms` is the gate's clock when it was decided."""

    at_ms: int
    topic: str
    partition: int
    offset: int
    decision_id: str | None
    value_minor: int | None
    currency: str | None
    before: Shape
    after: Shape


@dataclass(slots=True)
class Cell:
    """So many decisions, and the magnitude of their values."""

    count: int = 0
    value_minor: int = 0
    examples: list[Example] = field(default_factory=list)


Cells = dict[tuple[Shape, Shape, str | None], Cell]
"""By before, after and currency."""


@dataclass(slots=True)
class Tally:
    """What one replay found, of one partition or of several.

    `ids_differ`: commands whose id is not that of before; `guessed`: what the recording does not hold and had to be
    assumed, by name; `left_out`: decisions of workflows that were not replayed.
    """

    cells: Cells = field(default_factory=dict)
    ids_differ: int = 0
    warmed_up: int = 0
    guessed: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    def join(self, other: Tally, examples_max: int) -> None:
        """Takes in what was found elsewhere."""
        for key, cell in other.cells.items():
            mine = self.cells.setdefault(key, Cell())
            mine.count += cell.count
            mine.value_minor += cell.value_minor
            mine.examples = sorted([*mine.examples, *cell.examples], key=_when)[:examples_max]
        self.ids_differ += other.ids_differ
        self.warmed_up += other.warmed_up
        for ours, theirs in ((self.guessed, other.guessed), (self.left_out, other.left_out)):
            for name, count in theirs.items():
                ours[name] = ours.get(name, 0) + count

    def of(self, workflow: str) -> Tally:
        """The cells of one workflow, by what its decisions were before."""
        return Tally({key: cell for key, cell in self.cells.items() if key[0].workflow == workflow})

    @property
    def workflows(self) -> list[str]:
        return sorted({before.workflow for before, _, _ in self.cells if before.workflow is not None})

    @property
    def decisions(self) -> int:
        return sum(cell.count for cell in self.cells.values())

    @property
    def changed(self) -> int:
        """Decisions with another output, reason or rule."""
        return sum(cell.count for (before, after, _), cell in self.cells.items() if not before.agrees(after))


@dataclass(frozen=True, slots=True)
class Sum:
    """Several cells together; `value_minor` by currency."""

    count: int
    changed: int
    value_minor: Mapping[str, int]
    examples: tuple[Example, ...]


def matrix(cells: Cells, examples_max: int) -> dict[tuple[str, str], Sum]:
    """By category before and after, in the order of `CATEGORIES`; examples are of what changed."""
    parts: dict[tuple[str, str], list[tuple[tuple[Shape, Shape, str | None], Cell]]] = {}
    for key, cell in cells.items():
        parts.setdefault((key[0].category, key[1].category), []).append((key, cell))
    rank = {name: at for at, name in enumerate(CATEGORIES)}
    return {
        named: _sum(parts[named], examples_max)
        for named in sorted(parts, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    }


def _sum(parts: Iterable[tuple[tuple[Shape, Shape, str | None], Cell]], examples_max: int) -> Sum:
    count, changed, values, examples = 0, 0, dict[str, int](), list[Example]()
    for (before, after, currency), cell in parts:
        count += cell.count
        if currency is not None and cell.value_minor:
            values[currency] = values.get(currency, 0) + cell.value_minor
        if not before.agrees(after):
            changed += cell.count
            examples += cell.examples
    return Sum(count, changed, dict(sorted(values.items())), tuple(sorted(examples, key=_when)[:examples_max]))


def _when(one: Example) -> tuple[int, int, int, str]:
    return one.at_ms, one.partition, one.offset, one.topic
