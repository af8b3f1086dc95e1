"""The breaker before an evaluator: what fails again and again is left alone for a while, then tried with one call.

Pure: the clock is passed in, any that only goes forward, in seconds.

    closed  --failed too often-->  open  --due-->  half-open  --the probe succeeded-->  closed
                                    ^                 |
                                    '--- failed ------'    (the next probe is due after twice the time)
"""

from __future__ import annotations

from typing import Literal, NamedTuple

OPENS_AFTER = 5  # failures in a row: one may be chance, five are not
FIRST_S = 1.0  # until the first probe
MOST_S = 30.0  # so that a mended evaluator is found within half a minute

State = Literal["closed", "open", "half_open"]
Event = Literal["too_many", "due", "succeeded", "failed", "released"]

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("closed", "too_many"): "open",
    ("open", "due"): "half_open",
    ("half_open", "succeeded"): "closed",
    ("half_open", "failed"): "open",
    ("half_open", "released"): "open",
}


class Admitted(NamedTuple):
    """A call may go. `turn` tells calls from before a change of state: what becomes of them says nothing any more."""

    turn: int
    probe: bool


class Wait(NamedTuple):
    """A call may not go before `until_s`, when a probe is due; None: the probe is under way."""

    until_s: float | None


class Breaker:
    """One evaluator's. Each `Admitted` is given back once: to `succeeded`, `failed` or `released`."""

    def __init__(self, opens_after: int = OPENS_AFTER, first_s: float = FIRST_S, most_s: float = MOST_S) -> None:
        self.state: State = "closed"
        self._opens_after = opens_after
        self._first_s = self._next_s = first_s
        self._most_s = most_s
        self._failures = 0
        self._due_s = 0.0
        self._turn = 0

    def admit(self, now_s: float) -> Admitted | Wait:
        """Whether a call may go now, and when else. The one that goes while the breaker is open is the probe."""
        found = self.closed_until(now_s)
        if found is not None:
            return found
        if self.state == "open":
            self._go("due")
        return Admitted(self._turn, self.state == "half_open")

    def closed_until(self, now_s: float) -> Wait | None:
        """What `admit` would say, without taking the probe's place: None when a call may go."""
        if self.state == "half_open":
            return Wait(None)
        return Wait(self._due_s) if self.state == "open" and now_s < self._due_s else None

    def succeeded(self, admitted: Admitted) -> None:
        """The evaluator lives: it has answered, whatever it said."""
        if admitted.turn != self._turn:
            return
        self._failures = 0
        if self.state == "half_open":
            self._next_s = self._first_s
            self._go("succeeded")

    def failed(self, admitted: Admitted, now_s: float, at_once: bool = False) -> None:
        """The evaluator failed. `at_once`: so that the next call cannot succeed either; there is no need for more."""
        if admitted.turn != self._turn:
            return
        self._failures += 1
        if self.state == "half_open":
            self._open(now_s, "failed")
        elif at_once or self._failures >= self._opens_after:
            self._open(now_s, "too_many")

    def released(self, admitted: Admitted, now_s: float) -> None:
        """The call came to an end that says nothing about the evaluator. After a probe, another one is due at once."""
        if admitted.turn == self._turn and self.state == "half_open":
            self._due_s = now_s
            self._go("released")

    def _open(self, now_s: float, event: Event) -> None:
        self._due_s = now_s + self._next_s
        self._next_s = min(self._next_s * 2, self._most_s)
        self._go(event)

    def _go(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]
        self._turn += 1
        if self.state == "closed":
            self._failures = 0
