"""How much of each kind flowed in each second, from totals that are looked at whenever somebody likes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

SECONDS_MAX = 60  # as many as a wide terminal can show
BARS = "▁▂▃▄▅▆▇█"


@dataclass(slots=True)
class Flow:
    """`note` the totals; `per_second` is then oldest first, its last item the last whole second."""

    _second: int = 0
    _before: Mapping[str, int] = field(default_factory=dict)
    _history: deque[dict[str, int]] = field(default_factory=lambda: deque(maxlen=SECONDS_MAX))

    def note(self, second: int, totals: Mapping[str, int]) -> None:
        """What flowed in seconds that nobody looked at is spread over them."""
        passed = second - self._second
        if passed <= 0:
            return
        flowed = {kind: (total - self._before.get(kind, 0)) // passed for kind, total in totals.items()}
        self._history.extend([flowed] * min(passed, SECONDS_MAX))
        self._second, self._before = second, dict(totals)

    def per_second(self, kind: str) -> list[int]:
        return [flowed.get(kind, 0) for flowed in self._history]


def sparkline(values: list[int], width: int) -> str:
    """The last `width` values as bars; nothing is the lowest bar, the greatest of them the highest."""
    shown = values[-width:] if width > 0 else []
    greatest = max(shown, default=0) or 1
    return "".join(BARS[value * (len(BARS) - 1) // greatest] for value in shown)
