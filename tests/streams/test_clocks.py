"""Clocks: a step is seen when it happens, the broker says who is right, and nobody's single reading moves the time."""

from __future__ import annotations

import pytest

from streams.clocks import TOLERANCE_MS, Clocks, Reading

NOW_MS, HOUR_MS = 1_764_000_000_000, 3_600_000


def at(seconds: float, off_ms: int = 0) -> Reading:
    """Both clocks so long after the start; this machine's is off by so much."""
    return Reading(NOW_MS + round(seconds * 1000) + off_ms, 500_000 + round(seconds * 1000))


def compared(clocks: Clocks, seconds: float, off_ms: int = 0, took_s: float = 0.01, broker_off_ms: int = 0) -> None:
    """A heartbeat of this moment, whose broker is right unless it is off too."""
    broker_ms = NOW_MS + round((seconds + took_s / 2) * 1000) + broker_off_ms
    clocks.compare(at(seconds, off_ms), broker_ms, at(seconds + took_s, off_ms))


def confirmed() -> Clocks:
    clocks = Clocks()
    compared(clocks, 0)
    assert clocks.now_ms(at(1)) == at(1).wall_ms
    assert (clocks.trouble, clocks.apart) == (None, False)
    return clocks


def test_nothing_is_believed_before_the_broker_has_spoken() -> None:
    clocks = Clocks()
    clocks.now_ms(at(0))
    assert clocks.trouble == "the time of the broker, to hold this clock against"
    assert not clocks.apart


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, TOLERANCE_MS + 100, -TOLERANCE_MS - 100])
def test_a_step_moves_no_time_and_is_told_at_once(step_ms: int) -> None:
    clocks = confirmed()
    assert clocks.now_ms(at(2, step_ms)) == at(2).wall_ms, "the steady clock goes on"
    assert clocks.apart
    assert clocks.trouble is not None and "here it became 2025-" in clocks.trouble
    assert clocks.now_ms(at(3)) == at(3).wall_ms
    told = clocks.trouble
    assert told is None, "it is back, and was for one moment elsewhere"


def test_a_step_that_the_broker_confirms_is_taken() -> None:
    """The clock was wrong before: somebody has set it right, and the broker agrees with it now."""
    clocks = Clocks()
    compared(clocks, 0, off_ms=HOUR_MS, broker_off_ms=HOUR_MS)
    assert clocks.now_ms(at(1, HOUR_MS)) == at(1, HOUR_MS).wall_ms
    assert clocks.now_ms(at(2)) == at(2, HOUR_MS).wall_ms
    compared(clocks, 3)
    assert clocks.now_ms(at(4)) == at(4).wall_ms
    assert clocks.trouble is None


@pytest.mark.parametrize("off_ms", [HOUR_MS, -HOUR_MS, TOLERANCE_MS + 100, -TOLERANCE_MS - 100])
def test_a_clock_that_was_wrong_from_the_start_is_told_with_both_times(off_ms: int) -> None:
    clocks = Clocks()
    compared(clocks, 0, off_ms=off_ms)
    assert clocks.apart and clocks.trouble is not None
    own = clocks.trouble.partition("here it is ")[2][:24]
    assert own.startswith("2025-11-2") and "at the broker 2025-11-24T16:00:00.005Z" in clocks.trouble
    compared(clocks, 3, off_ms=off_ms)
    assert clocks.apart
    compared(clocks, 6)
    assert clocks.trouble is None


def test_within_the_tolerance_clocks_agree() -> None:
    clocks = confirmed()
    for off_ms in (TOLERANCE_MS, -TOLERANCE_MS, 0):
        compared(clocks, 5, off_ms=off_ms)
        assert clocks.trouble is None


def test_a_slow_broker_is_no_clock_that_is_wrong() -> None:
    """It took a minute to acknowledge: its time lies in between, and that is all that can be said."""
    clocks = confirmed()
    compared(clocks, 5, took_s=60)
    assert clocks.trouble is None


def test_a_step_during_the_comparison_confirms_nothing() -> None:
    """From before the step to after it lies any time: neither a right clock nor a wrong one follows from that."""
    clocks = confirmed()
    clocks.compare(at(5), at(5, HOUR_MS // 2).wall_ms, at(6, HOUR_MS))
    assert clocks.now_ms(at(7, HOUR_MS)) == at(7).wall_ms
    assert clocks.apart


def test_now_is_no_earlier_than_what_a_broker_has_written() -> None:
    """A slow clock: what stands at this time cannot have been written later than now."""
    clocks = confirmed()
    clocks.saw(at(2, 1_500).wall_ms, at(2))
    assert clocks.now_ms(at(2)) == at(2, 1_500).wall_ms
    assert clocks.now_ms(at(4)) == at(4).wall_ms


def test_one_broker_that_is_far_ahead_moves_no_time() -> None:
    clocks = confirmed()
    clocks.saw(at(2, HOUR_MS).wall_ms, at(2))
    assert clocks.now_ms(at(2)) == at(2).wall_ms
    assert clocks.trouble is None


def test_a_time_that_no_calendar_has_is_told_as_a_number() -> None:
    clocks = Clocks()
    clocks.compare(Reading(10**17, 0), 5, Reading(10**17, 0))
    assert clocks.trouble is not None and "100000000000000000 ms" in clocks.trouble
