"""The law of the queue and the pace, on numbers alone."""

from __future__ import annotations

import pytest

from streams.admission import SAVED_MS, SHED_COST, Flow, Pace

SET = Flow(2_000, True, arrivals_per_s=6_000)
MEASURED = Flow(2_000, False, arrivals_per_s=3_000)


def test_nothing_is_shed_below_the_start_nor_while_a_rate_is_unknown() -> None:
    assert SET.share(2_500, 2_500, 5_000) == 1
    assert Flow(2_000, True).share(9_000, 2_500, 5_000) == 1
    assert Flow(arrivals_per_s=6_000).share(9_000, 2_500, 5_000) == 1


def test_from_the_start_the_share_falls_evenly_to_the_one_that_holds_the_age() -> None:
    assert SET.share(3_750, 2_500, 5_000) == pytest.approx(2 / 3)
    assert SET.share(5_000, 2_500, 5_000) == pytest.approx(1 / 3)
    assert SET.share(5_001, 2_500, 5_000) == pytest.approx(1 / 3, rel=0.01)


def test_beyond_it_the_share_is_what_brings_the_age_back() -> None:
    # twice as far over the start: two seconds of the queue go in each second
    assert SET.share(7_500, 2_500, 5_000) == pytest.approx(1 / 6)


def test_what_comes_no_faster_than_it_can_be_decided_is_not_shed_until_it_is_far_over() -> None:
    calm = Flow(2_000, True, arrivals_per_s=1_900)
    assert calm.share(5_000, 2_500, 5_000) == 1
    assert calm.share(7_500, 2_500, 5_000) < 1


def test_with_a_measured_capacity_shedding_costs_too() -> None:
    share = MEASURED.share(5_000, 2_500, 5_000)
    assert 3_000 * (share + SHED_COST * (1 - share)) == pytest.approx(2_000)
    assert Flow(2_000, False, arrivals_per_s=8_000).share(5_000, 2_500, 5_000) == 0


def test_arrivals_are_measured_in_the_brokers_time_and_forget_what_is_long_past() -> None:
    flow = Flow()
    for start_ms in range(0, 2_000, 100):
        flow = flow.seen(start_ms, start_ms + 100, 600, now_ms=start_ms + 9_000)
    assert flow.arrivals_per_s == pytest.approx(6_000)
    for start_ms in range(2_000, 5_000, 100):
        flow = flow.seen(start_ms, start_ms + 100, 100, now_ms=start_ms + 9_000)
    assert flow.arrivals_per_s == pytest.approx(1_000, rel=0.02)


def test_records_that_share_an_append_time_wait_for_the_next_one() -> None:
    flow = Flow().seen(100, 100, 50, 200).seen(100, 100, 50, 210)
    assert flow.arrivals_per_s is None
    assert flow.seen(100, 200, 20, 300).arrivals_per_s == pytest.approx(1_200)


def test_the_capacity_is_measured_only_while_there_is_always_something_to_do() -> None:
    waiting = Flow().seen(0, 1_000, 2_000, 10_000).done(1_000, 1_000, 0, 10_000)
    assert waiting.seen(1_000, 2_000, 2_000, 10_500).capacity_per_s == pytest.approx(1_500 / 0.5)
    assert waiting.seen(1_000, 9_900, 2_000, 10_500).capacity_per_s is None
    assert waiting.seen(1_000, 2_000, 2_000, 10_000).capacity_per_s is None  # a clock that stands still says nothing


def test_one_batch_that_was_held_up_does_not_undo_what_is_known() -> None:
    flow = Flow(3_000).seen(0, 1_000, 2_000, 50_000).done(2_000, 0, 0, 50_000)
    assert flow.seen(1_000, 2_000, 2_000, 70_000).capacity_per_s == pytest.approx(3_000 * 0.8 + 100 * 0.2)


def test_a_capacity_that_was_set_is_not_measured() -> None:
    flow = Flow(2_000, True).seen(0, 1_000, 2_000, 50_000).done(2_000, 0, 0, 50_000)
    assert flow.seen(1_000, 2_000, 2_000, 70_000).capacity_per_s == 2_000


def test_a_pace_lets_a_batch_go_and_waits_for_what_it_took() -> None:
    pace = Pace(500)
    assert pace.wait_ms(1_000) == 0
    pace.take(300, 1_000)
    assert pace.wait_ms(1_000) == 600 - SAVED_MS
    assert pace.wait_ms(1_300) == 50
    pace.take(100, 1_300)
    assert pace.wait_ms(1_300) == 250
    assert pace.wait_ms(5_000) == 0


def test_what_a_late_wake_up_lost_is_made_good_and_no_more_is_saved_up() -> None:
    pace, decided, now_ms = Pace(500), 0, 1_000
    for _ in range(100):
        pace.take(40, now_ms)
        decided += 40
        now_ms += round(pace.wait_ms(now_ms)) + 15  # each time 15 ms late
    assert decided / (now_ms - 1_000) * 1000 == pytest.approx(500, rel=0.05)
    pace.take(200, now_ms + 60_000)
    assert pace.wait_ms(now_ms + 60_000) == 400 - SAVED_MS


def test_a_clock_that_was_set_back_makes_nobody_wait_longer_than_what_was_taken() -> None:
    pace = Pace(500)
    pace.take(300, 1_000_000)
    assert pace.wait_ms(0) == 600 - SAVED_MS
    pace.take(100, 0)
    assert pace.wait_ms(0) == 800 - SAVED_MS
