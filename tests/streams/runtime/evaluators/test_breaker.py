"""The breaker, without a clock: when it opens, when a probe goes, what late news from before is worth."""

from __future__ import annotations

import pytest

from streams.runtime.evaluators.breaker import TRANSITIONS, Admitted, Breaker, Wait


def go(breaker: Breaker, now_s: float) -> Admitted:
    found = breaker.admit(now_s)
    assert isinstance(found, Admitted), found
    return found


def state(breaker: Breaker) -> str:
    return breaker.state


def fail(breaker: Breaker, now_s: float, times: int = 5) -> None:
    for _ in range(times):
        breaker.failed(go(breaker, now_s), now_s)


def test_it_opens_after_five_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker()
    fail(breaker, 0, 4)
    breaker.succeeded(go(breaker, 0))
    fail(breaker, 0, 4)
    assert state(breaker) == "closed"
    fail(breaker, 10, 1)
    assert state(breaker) == "open"
    assert breaker.admit(10.5) == Wait(11.0)


def test_a_failure_that_says_enough_opens_it_at_once() -> None:
    breaker = Breaker()
    breaker.failed(go(breaker, 0), 0, at_once=True)
    assert breaker.admit(0) == Wait(1.0)


def test_one_probe_goes_and_the_others_wait_for_it() -> None:
    breaker = Breaker()
    fail(breaker, 0)
    probe = go(breaker, 1.0)
    assert probe.probe
    assert breaker.admit(1.0) == Wait(None)
    breaker.succeeded(probe)
    assert not go(breaker, 1.0).probe


def test_the_wait_for_the_probe_doubles_up_to_half_a_minute_and_starts_anew_after_a_success() -> None:
    breaker, now_s, waits = Breaker(), 0.0, []
    fail(breaker, now_s)
    for _ in range(7):
        found = breaker.admit(now_s)
        assert isinstance(found, Wait) and found.until_s is not None
        waits.append(found.until_s - now_s)
        now_s = found.until_s
        breaker.failed(go(breaker, now_s), now_s)
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    breaker.succeeded(go(breaker, now_s + 30))
    fail(breaker, 1_000)
    assert breaker.admit(1_000) == Wait(1_001)


def test_a_probe_that_says_nothing_makes_room_for_the_next() -> None:
    breaker = Breaker()
    fail(breaker, 0)
    breaker.released(go(breaker, 1.0), 1.5)
    assert go(breaker, 1.5).probe


def test_what_was_admitted_before_the_state_changed_says_nothing_any_more() -> None:
    breaker = Breaker()
    old = go(breaker, 0)
    fail(breaker, 0)
    breaker.succeeded(old)
    breaker.released(old, 0)
    assert state(breaker) == "open"
    probe = go(breaker, 1)
    breaker.failed(old, 1)
    assert state(breaker) == "half_open"
    breaker.succeeded(probe)
    breaker.failed(probe, 1, at_once=True)
    assert state(breaker) == "closed"


@pytest.mark.parametrize("name", ["closed", "open", "half_open"])
def test_every_state_is_left_and_reached(name: str) -> None:
    assert any(before == name for before, _ in TRANSITIONS)
    assert name in TRANSITIONS.values()
