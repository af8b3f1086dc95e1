"""Whether each decision was answered exactly once, in the output where it belongs: read back, not believed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streams.errors import CheckFailed

# the id of a decision, wherever an output has it: as decision_id, in the decision as it came, or in the raw text
NUMBER = re.compile(rb'"b(\d{8})-[0-9a-f]{24}|\\"b(\d{8})-')


@dataclass(frozen=True, slots=True)
class Verdict:
    missing: int
    duplicates: int
    misplaced: int
    unknown: int

    def require(self, whose: str) -> None:
        """Raises CheckFailed unless every count is 0."""
        if self.missing or self.duplicates or self.misplaced or self.unknown:
            raise CheckFailed(
                f"{whose}: the outputs are wrong: missing {self.missing}, duplicates {self.duplicates}, in the wrong "
                f"output {self.misplaced}, of no known decision {self.unknown}; figures of what loses or repeats are "
                "worth nothing, so none are given: run it again, and if it stays, report it with N and the seed"
            )


class Answers:
    """Counts outputs by the number of the decision they answer."""

    def __init__(self, outputs: bytes) -> None:
        """`outputs[number]` is the index of the output where that decision belongs."""
        self._outputs = outputs
        self._counts = [0] * len(outputs)
        self._misplaced = 0
        self._unknown = 0
        self.count = 0

    def add(self, output: int, value: bytes) -> int | None:
        """The number of the decision that it answers, None when it answers none of ours."""
        self.count += 1
        found = NUMBER.search(value)
        number = int(found[1] or found[2]) if found else len(self._outputs)
        if number >= len(self._outputs):
            self._unknown += 1
            return None
        self._counts[number] += 1
        self._misplaced += self._outputs[number] != output
        return number

    def verdict(self) -> Verdict:
        missing = self._counts.count(0)
        return Verdict(missing, sum(self._counts) - (len(self._counts) - missing), self._misplaced, self._unknown)
