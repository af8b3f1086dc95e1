"""What is predicted is what happens: a budget recommended on one half of the traffic, applied to the other half."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import orjson
import pytest

from agents.budget.advice import By, Wish, advise
from agents.budget.replay import Replay
from agents.workflows.billing.events import Origin
from agents.workflows.billing.events import decision as billing_decision
from agents.workflows.billing.trips import trips_through_the_months
from streams.budget import with_budget
from streams.policy import Policy
from tests.agents.budget.recorded import Arrival, recording_of, through
from tests.streams.making import NOW_MS, decision, policy

KEEP = Fraction(99, 100)
TO_ALL = policy([{"name": "all", "then": "autonomous"}], budget="20s")


def heavy_tailed_ms(count: int, seed: int) -> list[int]:
    """Ages with a median of 2 s and a tail of minutes, in bursts: each neighbour is much like the one before."""
    chance = np.random.default_rng(seed)
    slow = np.repeat(chance.random(count // 20 + 1) < 0.1, 20)[:count]
    ages_ms = 2_000 * np.exp(chance.normal(0, 1.2, count)) * np.where(slow, 3, 1)
    return [int(age_ms) for age_ms in ages_ms]


def made_up(count: int) -> list[Arrival]:
    values = np.random.default_rng(5).lognormal(7, 0.8, count).astype(int).tolist()
    found = []
    for number, (age_ms, value_minor) in enumerate(zip(heavy_tailed_ms(count, 7), values, strict=True)):
        gated_at_ms = NOW_MS + number // 16 * 1_000
        body = decision(
            number, entity=f"a-{number % 99}", observed_at_ms=gated_at_ms - age_ms, value_minor=int(value_minor) + 1
        )
        found.append(Arrival(body, gated_at_ms))
    return found


def trips(count: int) -> list[Arrival]:
    found = []
    delays_ms = heavy_tailed_ms(count, 11)
    for number, (lap, trip) in enumerate(trips_through_the_months(count)):
        gated_at_ms = NOW_MS + number // 16 * 1_000
        sent_ms = gated_at_ms - 20
        body = billing_decision(trip, Origin(3), sent_ms, lap, delays_ms[number])
        found.append(Arrival(body, gated_at_ms))
    return found


def lost(arrivals: list[Arrival], under: Policy, by: By) -> float:
    """The share of the value, or of the decisions, that the path itself drops as stale under this policy."""
    weights = {True: 0, False: 0}
    for one, value, output in through(arrivals, under):
        stale = output == "exceptions" and orjson.loads(value)["reason"].startswith("stale.")
        weights[stale] += abs(one.body["value_minor"]) if by == "value" else 1
    return weights[True] / sum(weights.values())


@pytest.mark.parametrize("by", ["value", "count"])
@pytest.mark.parametrize("source", [made_up, trips])
def test_the_recommended_budget_drops_what_was_predicted_on_traffic_it_has_not_seen(source: object, by: By) -> None:
    arrivals = (made_up if source is made_up else trips)(4_000)
    order = np.random.default_rng(1).permutation(len(arrivals) // 100)  # stretches of time, not single decisions
    first = [one for at in sorted(order[: len(order) // 2]) for one in arrivals[at * 100 : at * 100 + 100]]
    held_back = [one for at in sorted(order[len(order) // 2 :]) for one in arrivals[at * 100 : at * 100 + 100]]

    advice = advise(Replay(recording_of(first, TO_ALL), TO_ALL), Wish(KEEP, by), 20_000)
    found = advice.recommendation
    assert advice.predicted.kept == pytest.approx(found.kept)
    assert advice.predicted.kept >= 0.99
    assert advice.predicted.dropped == pytest.approx(1 - found.kept)
    assert advice.present.kept < advice.predicted.kept

    actual = lost(held_back, with_budget(TO_ALL, found.budget_ms), by)
    assert abs(advice.predicted.dropped - actual) <= 0.01
    assert found.low_ms is not None and found.high_ms is not None
    assert found.low_ms <= found.budget_ms <= found.high_ms


def test_the_budget_is_the_smallest_a_millisecond_less_keeps_too_little() -> None:
    arrivals = made_up(1_000)
    advice = advise(Replay(recording_of(arrivals, TO_ALL), TO_ALL), Wish(KEEP, "count"), 20_000)
    budget_ms = advice.recommendation.budget_ms
    assert lost(arrivals, with_budget(TO_ALL, budget_ms), "count") <= 0.01
    assert lost(arrivals, with_budget(TO_ALL, budget_ms - 1), "count") > 0.01


def test_what_is_kept_back_for_the_executor_is_part_of_what_a_decision_needs() -> None:
    reserved = policy([{"name": "all", "then": "autonomous"}], budget="20s", allowance="1500ms")
    arrivals = made_up(500)
    plain = advise(Replay(recording_of(arrivals, TO_ALL), TO_ALL), Wish(KEEP, "count"), 20_000)
    kept_back = advise(Replay(recording_of(arrivals, reserved), reserved), Wish(KEEP, "count"), 20_000)
    assert kept_back.recommendation.budget_ms == plain.recommendation.budget_ms + 1_500
    assert kept_back.predicted == plain.predicted
