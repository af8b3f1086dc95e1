"""Freshness: at the deadline is too late; the deadline is the earlier of budget and expiry; one clock ends it all."""

from __future__ import annotations

from typing import Any

import pytest

from streams.batch import Row
from streams.freshness import deadlines, judge
from tests.streams.making import BUDGET_MS, NOW_MS, decided, decision, fetched, only, outcomes, policy, row, successor

TEN_MINUTES = policy([{"name": "all", "then": "autonomous"}])
HALF_AN_HOUR_IN_ALL = policy([{"name": "all", "then": "autonomous"}], total="30m")


def ends(made: Row, rules: Any = HALF_AN_HOUR_IN_ALL) -> tuple[int, int]:
    deadlines([made], [rules])
    return made.deadline_ms, made.final_deadline_ms


def test_the_deadline_is_the_observation_and_the_budget() -> None:
    observed_ms = NOW_MS - 1_000
    assert ends(row()) == (observed_ms + BUDGET_MS, observed_ms + 3 * BUDGET_MS)


def test_without_a_total_the_budget_ends_all_attempts() -> None:
    deadline_ms, final_ms = ends(row(), TEN_MINUTES)
    assert deadline_ms == final_ms


@pytest.mark.parametrize("expires_ms", [NOW_MS + 5, NOW_MS - 5])
def test_the_producers_expiry_ends_both_when_it_is_earlier(expires_ms: int) -> None:
    assert ends(row(decision(expires_at_ms=expires_ms))) == (expires_ms, expires_ms)


def test_a_later_expiry_changes_nothing_but_may_end_the_total() -> None:
    between_ms = NOW_MS + 2 * BUDGET_MS
    assert ends(row(decision(expires_at_ms=between_ms))) == (NOW_MS - 1_000 + BUDGET_MS, between_ms)
    assert ends(row(decision(expires_at_ms=NOW_MS * 2))) == ends(row())


def test_a_successor_brings_its_final_deadline_and_gets_a_budget_of_its_own() -> None:
    again = row(successor(final_deadline_ms=NOW_MS + 7), source="successors")
    assert ends(again) == (NOW_MS - 1_000 + BUDGET_MS, NOW_MS + 7)
    expiring = row(successor(final_deadline_ms=NOW_MS + 7, expires_at_ms=NOW_MS + 3), source="successors")
    assert ends(expiring) == (NOW_MS + 3, NOW_MS + 3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"observed_at_ms": NOW_MS - BUDGET_MS + 1}, "commands"),
        ({"observed_at_ms": NOW_MS - BUDGET_MS}, "stale.age"),
        ({"observed_at_ms": 0}, "stale.age"),
        ({"expires_at_ms": NOW_MS + 1}, "commands"),
        ({"expires_at_ms": NOW_MS}, "stale.expired"),
        ({"expires_at_ms": 0}, "stale.expired"),
        ({"observed_at_ms": NOW_MS - BUDGET_MS, "expires_at_ms": NOW_MS - 1}, "stale.age"),
        ({"observed_at_ms": NOW_MS + 2_000}, "commands"),
    ],
)
def test_at_the_deadline_is_too_late(fields: dict[str, Any], reason: str) -> None:
    assert outcomes(decided(fetched([decision(**fields)], broker_ms=NOW_MS), [TEN_MINUTES])) == [reason]


@pytest.mark.parametrize(("left_ms", "reason"), [(1, "commands"), (0, "stale.age"), (-5, "stale.age")])
def test_a_successor_ends_with_its_final_deadline(left_ms: int, reason: str) -> None:
    batch = fetched([successor(final_deadline_ms=NOW_MS + left_ms)], source="successors")
    found = decided(batch, [TEN_MINUTES])
    assert outcomes(found) == [reason]
    if reason == "commands":
        assert only(found)["deadline_ms"] == NOW_MS + left_ms
    else:
        assert only(found)["detail"] == f"its final deadline, over all attempts, passed {-left_ms} ms ago"


def test_the_sentence_says_how_late() -> None:
    old = only(decided(fetched([decision(observed_at_ms=NOW_MS - BUDGET_MS - 123)]), [TEN_MINUTES]))
    assert old["detail"] == "observed 600123 ms ago; the budget is 600000 ms"
    assert (old["age_ms"], old["budget_ms"], old["stage"]) == (600_123, BUDGET_MS, "freshness")
    assert (old["deadline_ms"], old["final_deadline_ms"]) == (NOW_MS - 123, NOW_MS - 123)
    expired = only(decided(fetched([decision(expires_at_ms=NOW_MS - 9)]), [TEN_MINUTES]))
    assert expired["detail"] == "the producer let it expire 9 ms ago"


def test_each_row_has_the_budget_of_its_own_workflow() -> None:
    quick = policy([{"name": "all", "then": "autonomous"}], workflow="routing", index=1, budget="500ms")
    batch = fetched([decision(1), decision(2, workflow="routing"), decision(3)])
    assert outcomes(decided(batch, [TEN_MINUTES, quick])) == ["commands", "stale.age", "commands"]


def test_no_rows_are_no_work() -> None:
    deadlines([], [TEN_MINUTES])
    judge([], [TEN_MINUTES], NOW_MS)
