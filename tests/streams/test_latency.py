"""Latency: stages that are never negative, add up to the age, and name the clocks that were wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.batch import Row
from streams.latency import ALL_TIMES, measure
from tests.streams.making import NOW_MS, decided, decision, fetched, only, row

INFERENCE, PRODUCER, TRANSPORT, QUEUE, GATE = range(5)


def measured(observed_ms: int, decided_ms: int | None, sent_ms: int | None, broker_ms: int, read_ms: int) -> Row:
    """Times relative to the gate's reading of the clock."""
    fields: dict[str, Any] = {"observed_at_ms": NOW_MS + observed_ms}
    if decided_ms is not None:
        fields["decided_at_ms"] = NOW_MS + decided_ms
    if sent_ms is not None:
        fields["sent_at_ms"] = NOW_MS + sent_ms
    broker_time_ms = -1 if broker_ms == -1 else NOW_MS + broker_ms
    made = row(decision(**fields), broker_ms=broker_time_ms, read_ms=NOW_MS + read_ms)
    measure([made], NOW_MS)
    return made


def test_each_stage_is_the_time_between_two_readings() -> None:
    made = measured(-163, -43, -13, -9, -2)
    assert (made.age_ms, made.stages, made.clock_adjusted) == (163, (120, 30, 4, 7, 2), ())


@pytest.mark.parametrize(
    ("times", "stages"),
    [
        ((-163, None, -13, -9, -2), (None, 150, 4, 7, 2)),
        ((-163, -43, None, -9, -2), (120, None, 34, 7, 2)),
        ((-163, None, None, -9, -2), (None, None, 154, 7, 2)),
        ((-163, None, None, -1, -2), (None, None, None, 161, 2)),
        ((-163, -43, -13, -1, -2), (120, 30, None, 11, 2)),
    ],
)
def test_an_absent_time_merges_its_stage_into_the_next(times: Any, stages: Any) -> None:
    made = measured(*times)
    assert (made.stages, made.clock_adjusted) == (stages, ())


@pytest.mark.parametrize(
    ("times", "stages", "named"),
    [
        ((1_500, None, None, -9, -2), (None, None, 0, 0, 0), ("observed_at_ms", "broker_time_ms", "read_ms")),
        ((-100, -150, -50, -40, -30), (0, 50, 10, 10, 30), ("decided_at_ms",)),
        ((-100, -20, -50, -40, -30), (80, 0, 0, 0, 20), ("sent_at_ms", "broker_time_ms", "read_ms")),
        ((-100, 70, None, -40, -30), (100, None, 0, 0, 0), ("decided_at_ms", "broker_time_ms", "read_ms")),
        ((-100, -90, -80, -70, 1), (10, 10, 10, 70, 0), ("read_ms",)),
        ((0, None, None, 0, 0), (None, None, 0, 0, 0), ()),
    ],
)
def test_a_time_out_of_order_is_bounded_and_named(times: Any, stages: Any, named: Any) -> None:
    made = measured(*times)
    assert (made.stages, made.clock_adjusted) == (stages, named)
    assert made.age_ms == max(0, -times[0])


TIME = st.integers(-10_000, 10_000)


@given(st.lists(st.tuples(TIME, TIME | st.none(), TIME | st.none(), TIME, TIME), min_size=1, max_size=5))
def test_stages_are_never_negative_and_their_sum_is_the_age(times: list[Any]) -> None:
    rows = []
    for observed, decided_ms, sent_ms, broker_ms, read_ms in times:
        fields: dict[str, Any] = {
            "observed_at_ms": NOW_MS + min(observed, 2_000),
            "decided_at_ms": ... if decided_ms is None else NOW_MS + decided_ms,
            "sent_at_ms": ... if sent_ms is None else NOW_MS + sent_ms,
        }
        rows.append(row(decision(**fields), broker_ms=NOW_MS + broker_ms, read_ms=NOW_MS + read_ms))
    measure(rows, NOW_MS)
    for made, (observed, decided_ms, sent_ms, broker_ms, read_ms) in zip(rows, times, strict=True):
        spans = [span for span in made.stages if span is not None]
        assert min(spans) >= 0
        assert sum(spans) == made.age_ms == max(0, -min(observed, 2_000))
        assert [made.stages[INFERENCE] is None, made.stages[PRODUCER] is None] == [decided_ms is None, sent_ms is None]
        in_order = [t for t in (observed, decided_ms, sent_ms, broker_ms, read_ms, 0) if t is not None]
        assert (in_order == sorted(in_order)) is (made.clock_adjusted == ())


def test_a_batch_is_measured_as_each_of_its_rows_alone() -> None:
    """One row's clock never leaks into another's."""
    fields = [{"sent_at_ms": NOW_MS - 50}, {}, {"decided_at_ms": NOW_MS + 9}, {"observed_at_ms": 0}]
    alone = [row(decision(**one)) for one in fields]
    for made in alone:
        measure([made], NOW_MS)
    together = [row(decision(**one)) for one in fields]
    measure(together, NOW_MS)
    assert [(m.age_ms, m.stages, m.clock_adjusted) for m in together] == [
        (m.age_ms, m.stages, m.clock_adjusted) for m in alone
    ]


def test_how_many_rows_each_time_was_bounded_in() -> None:
    late_clock, early_clock = {"sent_at_ms": NOW_MS + 50}, {"decided_at_ms": NOW_MS - 90_000}
    rows = [row(decision(**fields)) for fields in (late_clock, early_clock, early_clock, {})]
    found = dict(zip(ALL_TIMES, measure(rows, NOW_MS).adjusted, strict=True))
    named = [name for made in rows for name in made.clock_adjusted]
    assert found == {name: named.count(name) for name in ALL_TIMES}
    assert found == {"observed_at_ms": 0, "decided_at_ms": 2, "sent_at_ms": 1, "broker_time_ms": 1, "read_ms": 1}


def test_no_rows_are_no_work() -> None:
    assert not any(measure([], NOW_MS).adjusted)


def test_without_the_brokers_time_outputs_say_so() -> None:
    assert "time_source" not in only(decided(fetched([decision()])))
    assert only(decided(fetched([decision()], broker_time=False)))["time_source"] == "producer"
    assert only(decided(fetched([b"bad"], broker_time=False)))["time_source"] == "producer"
    unsure = only(decided(fetched([decision(confidence=0)], broker_time=False)))
    assert (unsure["reasons"], unsure["time_source"]) == (["confidence_below"], "producer")
