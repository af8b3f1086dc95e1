"""What held decisions back beside their policy, as recorded: halts, and how much of a limit a partition had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agents.backtest.answers import Answer, Origin
from agents.backtest.batches import Event
from schemas.lease import ExposureSeen
from schemas.published import Halt, Scope
from streams.batch import Row
from streams.halts import Halted, Halts
from streams.policy import Policy

_BEFORE_HALTS = frozenset({"stale", "reevaluation", "duplicate", "invalid"})


class RecordedHalts(Halts):
    """Halts as they hit the decisions of one batch. One that came not so far then is halted with its like."""

    def __init__(self, events: Sequence[Event], halted: Sequence[Event]) -> None:
        halt = Halt(True, "as recorded", "as recorded", 0)
        super().__init__({Scope(): halt})
        self._halted = Halted(Scope(), halt)
        self._places = {_place(event.answer) for event in halted}
        self._alike = {(event.answer.shape.workflow, *_of(event.answer.origin)) for event in halted}
        self._earlier = {
            _place(event.answer) for event in events if event.answer.shape.reason.partition(".")[0] in _BEFORE_HALTS
        }

    def over_row(self, row: Row) -> Halted | None:
        """As recorded."""
        place, decision = (row.fetched.topic, row.offset), row.decision
        if place in self._places:
            return self._halted
        if decision is None or place not in self._earlier:
            return None
        return self._halted if (decision.workflow, decision.segment, decision.model) in self._alike else None


def _place(answer: Answer) -> tuple[str, int]:
    return answer.source.topic, answer.source.offset


def _of(origin: Origin | None) -> tuple[str | None, str | None]:
    return (None, None) if origin is None else (origin.segment, origin.model)


class RecordedExposure:
    """What a partition number held of each limit when it looked. Of a limit that nobody looked at then, it is taken to
    have held its even share, or what it held last; that is counted.
    """

    def __init__(self, policies: Sequence[Policy], partitions: int) -> None:
        self.guessed = 0
        self._terms = {(one.workflow, terms.name): terms for one in policies for terms in one.exposure}
        self._partitions = partitions
        self._seen: dict[tuple[str, int], dict[str, ExposureSeen]] = {}
        self._last: dict[tuple[str, str], ExposureSeen] = {}

    def look(self, events: Iterable[Event]) -> None:
        """Takes what is known of the next batch."""
        if not self._terms:
            return
        self._seen = {
            _place(event.answer): seen for event in events if (seen := event.answer.exposure_seen) is not None
        }

    def seen(self, row: Row, limit: str) -> ExposureSeen | None:
        """For `Exposures.recorded`."""
        assert row.decision is not None
        named, there = (row.decision.workflow, limit), self._seen.get((row.fetched.topic, row.offset))
        terms = self._terms[named]
        if there is not None and limit in there:
            if not terms.per:
                self._last[named] = there[limit]
            return there[limit]
        if terms.of_entity:
            return None  # nothing of it is leased: the path knows
        self.guessed += 1
        last = self._last.get(named)
        return ExposureSeen(0, terms.at_most // self._partitions if last is None else last.held)
