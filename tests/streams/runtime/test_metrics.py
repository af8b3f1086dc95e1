"""The meter: what alerts count is there from the start, and clocks that are wrong are seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.reasons import EXCEPTION_REASONS
from streams.batch import Fetched, Unread
from streams.path import Snapshot
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.stage import Batch
from tests.streams.making import BILLING, NOW_MS, decided, decision, fetched, policy

EVALUATOR = {"url": "http://rater.internal/again", "timeout": "2s"}


def series(meter: Meter, name: str) -> dict[tuple[str, ...], float]:
    return {labels: numbers[0] for (found, labels), numbers in meter.board.read().items() if found == name}


def committed(meter: Meter, *batches: Fetched) -> None:
    meter.committed(batches, Batch([], {}, None, decided(batches).observed), 0.001, 0.001, 1.0)


def test_times_that_had_to_be_bounded_are_counted_by_name_from_zero() -> None:
    meter = Meter(Board.private(), ["billing"])
    assert sum(series(meter, "clock_adjusted").values()) == 0
    committed(meter, fetched([decision(1, decided_at_ms=NOW_MS - 90_000), decision(2)]))
    committed(meter, fetched([decision(3, decided_at_ms=NOW_MS - 90_000)], first_offset=2))
    assert series(meter, "clock_adjusted") == {
        ("observed_at_ms",): 0,
        ("decided_at_ms",): 2,
        ("sent_at_ms",): 0,
        ("broker_time_ms",): 0,
        ("read_ms",): 0,
    }


@pytest.mark.parametrize(
    ("batches", "offset_s"),
    [
        ([{"broker_ms": NOW_MS - 20, "read_ms": NOW_MS - 5}], 0.015),
        ([{"broker_ms": NOW_MS + 800, "read_ms": NOW_MS - 5}], -0.805),
        ([{"broker_ms": NOW_MS + 800, "read_ms": NOW_MS + 790, "shown_ms": NOW_MS - 5}], -0.805),
        ([{"broker_ms": NOW_MS - 9_000}, {"broker_ms": NOW_MS - 7}], 0.002),
        ([{"broker_ms": NOW_MS + 800, "broker_time": False}, {"broker_ms": NOW_MS - 7}], 0.002),
        ([{"broker_ms": NOW_MS + 800, "broker_time": False}], None),
    ],
)
def test_the_offset_is_the_least_of_a_batch_where_the_broker_gave_the_time(
    batches: list[dict[str, Any]], offset_s: float | None
) -> None:
    meter = Meter(Board.private(), ["billing"])
    committed(meter, *(fetched([decision(n)], first_offset=n, **about) for n, about in enumerate(batches)))
    found = series(meter, "broker_clock_offset_seconds")
    assert found == ({} if offset_s is None else {("2",): pytest.approx(offset_s)})


def test_evaluator_calls_are_counted_by_how_they_ended() -> None:
    meter = Meter(Board.private(), ["billing"])
    meter.asked("billing", "answered", 3)
    meter.asked("billing", "timeout")
    meter.asked("made-up", "failed")
    assert series(meter, "evaluator_calls") == {
        ("billing", "answered"): 3,
        ("billing", "timeout"): 1,
        ("unknown", "failed"): 1,
    }


def test_what_alerts_divide_begins_at_zero_for_every_policy() -> None:
    """A counter whose first sample is its first burst shows a rate of nothing."""
    again = policy((), "again", 1, EVALUATOR, on_stale="reevaluate", total="20m", overload={})
    shown = policy((), "shown", 2, EVALUATOR, on_stale="escalate", total="20m", segments={"s": {"on_stale": "drop"}})
    meter = Meter(Board.private(), ["billing", "again", "shown"])
    meter.budgets(Snapshot([BILLING, again, shown]))
    assert series(meter, "dispositions") == {
        **{(one, "exceptions", "invalid.future"): 0 for one in ("billing", "again", "shown")},
        ("billing", "exceptions", "stale.age"): 0,
        ("again", "reevaluations", "stale.age"): 0,
        ("again", "exceptions", "shed.overload"): 0,
        ("shown", "reviews", "stale"): 0,
        ("shown", "exceptions", "stale.age"): 0,
    }
    results = ("answered", "failed", "timeout", "breaker_open")
    assert series(meter, "evaluator_calls") == {(one, result): 0 for one in ("again", "shown") for result in results}


def test_what_cannot_be_read_begins_at_zero_where_decisions_are_read() -> None:
    """One batch of it is enough: without a sample before it no rate shows it."""
    meter = Meter(Board.private(), ["billing"])
    meter.reads(["verdicts"])
    assert series(meter, "dispositions") == {}
    meter.reads(["decisions", "successors"])
    invalid = {reason for reason in EXCEPTION_REASONS if reason.startswith("invalid.")}
    assert series(meter, "dispositions") == {("unknown", "exceptions", reason): 0 for reason in invalid}
    committed(meter, fetched([b"{"]))
    assert series(meter, "dispositions")["unknown", "exceptions", "invalid.json"] == 1


def test_batches_that_could_not_be_read_are_counted_and_lost_ranges_are_not() -> None:
    meter = Meter(Board.private(), ["billing"])
    meter.reads(["decisions"])
    unread = {0: Unread("invalid.batch", 4, "torn"), 1: Unread("lost.removed", 9, "removed")}
    committed(meter, replace(fetched([None, None]), unread=unread))
    assert series(meter, "poison_records")["decisions", "batch"] == 1


def test_the_budget_shown_is_the_shortest_also_of_segments_and_goes_with_its_policy() -> None:
    express = policy((), "shown", 1, budget="10m", total="20m", segments={"express": {"budget": "2m"}})
    meter = Meter(Board.private())
    meter.budgets(Snapshot([BILLING, express]))
    assert series(meter, "policy_budget_seconds") == {("billing",): 600, ("shown",): 120}
    meter.budgets(Snapshot([BILLING]))
    assert series(meter, "policy_budget_seconds") == {("billing",): 600}, "it would hold others to its budget for ever"
