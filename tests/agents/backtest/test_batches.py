"""Batches are put together as the gate had them: by its clock, and in the order that its outputs show."""

from __future__ import annotations

from types import SimpleNamespace

from agents.backtest.answers import Answer
from agents.backtest.batches import Batches, Event, woven
from schemas.common import Source
from streams.backtest import Shape


def event(offset: int, at_ms: int, output: str = "commands", written: int = 0, topic: str = "decisions") -> Event:
    shape = Shape("w", output, "r", None, "w@1")
    answer = Answer(shape, Source(topic, 0, offset), at_ms, written, "e", f"d-{offset}", None, None, None, None, None)
    return Event(SimpleNamespace(offset=offset), answer)


def offsets(events: list[Event]) -> list[int]:
    return [one.record.offset for one in events]


def test_a_batch_is_what_has_one_reading_of_the_clock() -> None:
    events = [event(0, 5), event(1, 5), event(3, 6)]
    batches = Batches({one.record.offset: one.answer for one in events}, [event(0, 4), event(1, 7)])
    records = [SimpleNamespace(offset=one) for one in range(5)]
    found = [*batches.take(records), *batches.finish()]
    assert [(one.gated_at_ms, one.parts[0].input) for one in found] == [
        (4, "successors"),
        (5, "decisions"),
        (6, "decisions"),
        (7, "successors"),
    ]
    assert [offsets(one.parts[0].events) for one in found] == [[0], [0, 1], [3], [1]]
    assert batches.missing == 0


def test_an_answer_whose_decision_is_gone_is_counted() -> None:
    batches = Batches({1: event(1, 5).answer}, [])
    assert [*batches.take([SimpleNamespace(offset=2)]), *batches.finish()] == []
    assert batches.missing == 1


def test_decisions_and_successors_of_one_batch_are_woven_by_where_their_answers_stand() -> None:
    decisions = [event(0, 5, written=10), event(1, 5, written=13), event(2, 5, "reviews", 7)]
    successors = [event(0, 5, written=11), event(1, 5, "reviews", 6)]
    parts = woven(decisions, successors)
    assert [(part.input, offsets(part.events)) for part in parts] == [
        ("decisions", [0]),
        ("successors", [0]),
        ("decisions", [1]),
        ("successors", [1]),
        ("decisions", [2]),
    ]
