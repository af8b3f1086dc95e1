"""Inputs that the broker removed before anybody read them: told by an exception, or found by what nobody answered.

Outputs name how far the answers go, the group's offset how far it was read. Where the log begins behind both, what lies
between was lost. Without the group only `decisions` are judged, and only where no output was removed yet: a marker of a
transaction at the end of a quiet topic takes an offset too, and an answer that is gone was one all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents.audit.inputs import Place, Record, is_int
from agents.audit.report import Result
from agents.audit.scan import document

REMOVED = "lost.removed"


class Lost:
    """Takes every answer, then what is known of how far was read."""

    def __init__(self, result: Result, decisions: str) -> None:
        self._result = result
        self._decisions = decisions
        self._answered: dict[Place, int] = {}  # the highest offset that an answer names

    def answers(self, place: Place, through: int) -> None:
        """An answer to an input, or to a range of them up to `through`."""
        self._answered[place] = max(through, self._answered.get(place, -1))

    def tells(self, fields: Mapping[str, Any], identifier: str | None) -> None:
        """An exception or a rejection, which may tell of a range."""
        source = fields.get("source")
        if fields.get("reason") != REMOVED or not isinstance(source, dict):
            return
        topic, number, offset, through = (source.get(name) for name in ("topic", "partition", "offset", "through"))
        if isinstance(topic, str) and is_int(number) and is_int(offset) and is_int(through) and through >= offset:
            self.answers((topic, number), through)
            self._result.lose(topic, number, offset, through, identifier or "told")

    def rejection(self, record: Record) -> None:
        """One record of `rejections`: where what people said is lost, it is told there."""
        if (found := document(record.value, "value")) is not None:
            self.tells(found.fields, None)

    def finish(
        self, starts: Mapping[Place, int], committed: Mapping[Place, int] | None, whole: Mapping[int, bool]
    ) -> None:
        """What was removed and nothing answers. `committed`: how far was read, where that is known.

        `whole`: by partition number, whether all its outputs are still there from the first on.
        """
        for (topic, number), start in sorted(starts.items()):
            read_to = None if committed is None else committed.get((topic, number))
            answered_to = self._answered.get((topic, number), -1) + 1
            if read_to is None and not (topic == self._decisions and whole.get(number, False)):
                continue
            first = max(answered_to, read_to or 0)
            if first < start:
                self._result.lose(topic, number, first, start - 1, None)
