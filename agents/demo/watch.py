"""What a person who watches the demo gets to see: lines, one a second; on a terminal that allows it, a live view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agents.demo.tally import KINDS, Tally


@dataclass(frozen=True, slots=True)
class Moment:
    """`second` counts from the first record that was sent at pace, and is 0 before; `scene` is where the story is."""

    second: int
    sent: int
    count: int
    scene: str


class Watch(Protocol):
    def say(self, line: str) -> None:
        """Something happened."""

    def look(self, moment: Moment, tally: Tally) -> None:
        """Called many times a second."""

    def close(self) -> None:
        """Whatever is on the screen from now on is somebody else's. May be called again."""


@dataclass(slots=True)
class Lines:
    """A line for each second, and one for each thing that happened."""

    write: Callable[[str], None]
    second: int = 0

    def say(self, line: str) -> None:
        self.write(line)

    def look(self, moment: Moment, tally: Tally) -> None:
        if moment.second > self.second:
            self.second = moment.second
            self.write(f"{moment.second:4d} s  {_counts(moment.sent, tally)}  {moment.scene}")

    def close(self) -> None:
        """Lines stay where they are."""


def _counts(sent: int, tally: Tally) -> str:
    kinds = "  ".join(f"{kind} {tally.kinds[kind]:5d}" for kind in KINDS)
    families = ", ".join(f"{family} {count}" for family, count in sorted(tally.families.items()))
    receipts = f"receipts {tally.receipts.counts.total():5d}"
    return f"sent {sent:5d}  {kinds}" + (f" ({families})" if families else "") + f"  {receipts}"
