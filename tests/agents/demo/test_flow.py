"""The flow per second comes from totals, whenever they are looked at."""

from __future__ import annotations

from agents.demo.flow import SECONDS_MAX, Flow, sparkline


def test_a_second_is_what_the_totals_grew_by() -> None:
    flow = Flow()
    for second, total in [(0, 5), (1, 10), (1, 12), (2, 40)]:
        flow.note(second, {"sent": total})
    assert flow.per_second("sent") == [10, 30]
    assert flow.per_second("receipts") == [0, 0]


def test_seconds_that_nobody_looked_at_share_what_came_in_them() -> None:
    flow = Flow()
    flow.note(1, {"sent": 10})
    flow.note(4, {"sent": 40})
    assert flow.per_second("sent") == [10, 10, 10, 10]


def test_the_history_is_bounded() -> None:
    flow = Flow()
    flow.note(10**9, {"sent": 10**9})
    assert len(flow.per_second("sent")) == SECONDS_MAX


def test_the_greatest_is_the_highest_bar_and_the_oldest_are_left_out() -> None:
    assert sparkline([99, 0, 50, 100], 3) == "▁▄█"
    assert sparkline([0, 0], 5) == "▁▁"
    assert sparkline([], 5) == sparkline([1], 0) == sparkline([1], -3) == ""
