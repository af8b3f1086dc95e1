"""Commands that can never be acted on, because nobody can read them any more: told by place, never passed in silence.

There is no receipt for them: a receipt names a command, and which ones stood there nobody knows. So the executor logs
the range, counts it, says it in its heartbeats on `workers`, and calls `on_lost`. In the records of Sluicegate they
are commands without a receipt: `sluicegate why` shows each as one, and the outcome accounting as not executed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sluicegate_kit.errors import KitError

REMOVED = "the broker removed them before they were read (its retention, or somebody who deleted records)"


@dataclass(frozen=True)
class Lost:
    """Offsets of a partition of `commands`, both ends included, and why nobody can read them."""

    topic: str
    partition: int
    offset: int
    through: int
    why: str

    @property
    def count(self) -> int:
        """How many offsets; there are at most so many commands, for control records take offsets too."""
        return self.through - self.offset + 1

    def __str__(self) -> str:
        return (
            f"{self.topic}/{self.partition}, offsets {self.offset} to {self.through}: up to {self.count} commands were "
            f"not acted on and get no receipt; {self.why}"
        )


OnLost = Callable[[Lost], None]


def how_far(topic: str, partition: int, group: str, offset: int, start: int, end: int) -> Lost | None:
    """What was lost, where a group wants an offset that is not there; None if by now it is.

    Raises KitError where it is beyond the end: this is not the topic that the group has read.
    """
    if offset > end:
        raise KitError(
            f"the group {group!r} has read {topic}/{partition} up to {offset}, which ends at {end}: the topic was made "
            "anew, or has lost its end. Start with another group to act on what is there, from its beginning: the "
            "store knows what was acted on"
        )
    return Lost(topic, partition, offset, start - 1, REMOVED) if offset < start else None
