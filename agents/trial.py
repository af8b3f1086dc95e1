"""Decisions through the policies in this process: the gate's own path and window, a clock that is told, no Kafka.

What comes out is what a gate would send that read these lines, and nothing else, from partition 0 of an empty
`decisions`. So a line's `source.offset` is its place in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

from schemas.common import TIME_MS_MAX
from streams.batch import Fetched, Headers, Output
from streams.foreign import object_of
from streams.headers import DEFAULTS, HeaderSettings
from streams.memory import Memory
from streams.path import Snapshot, decide

BATCH_RECORDS_MAX = 500  # as many as are decided at one reading of the clock; a gate's fetch holds about as many
_TIMES = ("sent_at_ms", "decided_at_ms", "observed_at_ms")


@dataclass(frozen=True, slots=True)
class Clock:
    """What the gate takes for now: `at_ms`; or `age_ms` after each observation; or each line's newest time."""

    at_ms: int | None = None
    age_ms: int | None = None

    def now_ms(self, line: bytes, before_ms: int) -> int:
        """The time at which this line is decided; `before_ms`, that of the line before, where it names none."""
        if self.at_ms is not None:
            return self.at_ms
        body = _body(line)
        if self.age_ms is not None:
            observed_ms = _time_ms(body.get("observed_at_ms"))
            return before_ms if observed_ms is None else observed_ms + self.age_ms
        return max(filter(None, (_time_ms(body.get(name)) for name in _TIMES)), default=before_ms)


class Tried(NamedTuple):
    """One line and the record that would be sent for it."""

    number: int
    output: Output
    key: bytes | None
    value: bytes
    headers: Headers


class _Line(NamedTuple):
    number: int
    offset: int
    value: bytes
    now_ms: int


def tried(
    lines: Iterable[tuple[int, bytes]],
    policies: Snapshot,
    clock: Clock,
    topic: str,
    headers: HeaderSettings = DEFAULTS,
) -> Iterator[Tried]:
    """What becomes of each numbered line, in order; repeats are told over all of them."""
    memory = Memory()
    for now_ms, timed in groupby(_timed(lines, clock), key=lambda line: line.now_ms):
        while batch := list(islice(timed, BATCH_RECORDS_MAX)):
            decided = decide([_fetched(batch, topic, now_ms)], now_ms, policies, memory, headers)
            memory.commit(decided.remembered, now_ms)
            for line, sent in zip(batch, decided.records, strict=True):
                yield Tried(line.number, sent.output, sent.key, sent.value, sent.headers)


def _timed(lines: Iterable[tuple[int, bytes]], clock: Clock) -> Iterator[_Line]:
    now_ms = 0
    for offset, (number, value) in enumerate(lines):
        now_ms = clock.now_ms(value, now_ms)
        yield _Line(number, offset, value, now_ms)


def _fetched(lines: list[_Line], topic: str, now_ms: int) -> Fetched:
    return Fetched(
        topic=topic,
        input="decisions",
        partition=0,
        offsets=[line.offset for line in lines],
        timestamps_ms=[now_ms] * len(lines),
        keys=[_key(line.value) for line in lines],
        values=[line.value for line in lines],
        broker_time=True,
        read_ms=now_ms,
    )


def _key(line: bytes) -> bytes | None:
    """The entity, as a producer would set it."""
    entity = _body(line).get("entity")
    return entity.encode() if isinstance(entity, str) and entity else None


def _body(line: bytes) -> dict[str, object]:
    return object_of(line) or {}


def _time_ms(value: object) -> int | None:
    """A time that a clock can show; the path says what is wrong with others."""
    return value if type(value) is int and 0 <= value <= TIME_MS_MAX else None
