"""The batches of one partition number as the gate had them, put together again from what it wrote.

A batch has one reading of the clock, `gated_at_ms`, and its outputs carry it; within one topic, batches follow offsets.
Where decisions and successors were decided together, their order among each other shows in the output topics: each of
those holds its part of the batch in the batch's order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from agents.backtest.answers import Answer
from streams.batch import Input


class Event(NamedTuple):
    """An input record and what became of it."""

    record: Any  # offset, timestamp, timestamp_type, key, value, headers
    answer: Answer


class Part(NamedTuple):
    """Events of a batch that follow each other in one input topic."""

    input: Input
    events: list[Event]


class Recorded(NamedTuple):
    """One batch."""

    gated_at_ms: int
    parts: list[Part]


class Batches:
    """Takes the decisions in order; the successors, which are few, are there from the start."""

    def __init__(self, decisions: dict[int, Answer], successors: Iterable[Event]) -> None:
        self._answers = decisions  # by offset; an answer that has its event is forgotten
        self._successors = deque(successors)
        self._open: list[Event] = []
        self._open_ms = -1

    def take(self, records: Iterable[Any]) -> Iterator[Recorded]:
        """The batches that are complete now. A record without an answer was not decided in the time looked at."""
        answers = self._answers
        for record in records:
            answer = answers.pop(record.offset, None)
            if answer is None:
                continue
            if answer.gated_at_ms != self._open_ms:
                yield from self._close()
                self._open_ms = answer.gated_at_ms
            self._open.append(Event(record, answer))

    def finish(self) -> Iterator[Recorded]:
        """What is left. Answers that stay behind have lost their input: see `missing`."""
        yield from self._close()
        while self._successors:
            yield self._successors_at(self._successors[0].answer.gated_at_ms)

    @property
    def missing(self) -> int:
        """Answers whose decision did not come."""
        return len(self._answers)

    def _close(self) -> Iterator[Recorded]:
        if not self._open:
            return
        decisions, at_ms, waiting = self._open, self._open_ms, self._successors
        while waiting and waiting[0].answer.gated_at_ms < at_ms:
            yield self._successors_at(waiting[0].answer.gated_at_ms)
        together = list[Event]()
        while waiting and waiting[0].answer.gated_at_ms == at_ms:
            together.append(waiting.popleft())
        parts = woven(decisions, together) if together else [Part("decisions", decisions)]
        yield Recorded(at_ms, parts)
        self._open = []

    def _successors_at(self, at_ms: int) -> Recorded:
        events = list[Event]()
        while self._successors and self._successors[0].answer.gated_at_ms == at_ms:
            events.append(self._successors.popleft())
        return Recorded(at_ms, [Part("successors", events)])


def woven(decisions: list[Event], successors: list[Event]) -> list[Part]:
    """Both in the order in which they were decided, as far as the outputs tell; else decisions first."""
    written: dict[str, list[int]] = {}
    for event in (*decisions, *successors):
        written.setdefault(event.answer.shape.output, []).append(event.answer.written)
    follows = {output: deque(sorted(offsets)) for output, offsets in written.items()}
    left, right, parts = deque(decisions), deque(successors), list[Part]()
    while left or right:
        is_left = bool(left) and (not right or _is_next(left[0], follows))
        event = left.popleft() if is_left else right.popleft()
        name: Input = "decisions" if is_left else "successors"
        line = follows[event.answer.shape.output]
        line.remove(event.answer.written)
        if not parts or parts[-1].input != name:
            parts.append(Part(name, []))
        parts[-1].events.append(event)
    return parts


def _is_next(event: Event, follows: dict[str, deque[int]]) -> bool:
    return follows[event.answer.shape.output][0] == event.answer.written
