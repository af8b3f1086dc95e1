"""The arithmetic of budgets: the quantile is exact, the interval honest, a policy under another budget whole."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.budget import Needs, Replayed, State, binned_loss, grid, smallest_budget, with_budget
from tests.streams.making import policy

DAY_MS = 86_400_000


def needs(ages_ms: list[int], weights: list[int] | None = None, step_ms: int = 1_000) -> Needs:
    count = len(ages_ms)
    return Needs(
        np.arange(count, dtype=np.int64) * step_ms,
        np.array(ages_ms, dtype=np.int64),
        np.array(weights or [1] * count, dtype=np.int64),
    )


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 9)), min_size=1, max_size=40),
    st.fractions(min_value=Fraction(1, 100), max_value=1, max_denominator=100),
)
def test_it_is_the_smallest_that_keeps_the_share(rows: list[tuple[int, int]], keep: Fraction) -> None:
    ages_ms, weights = [age for age, _ in rows], [weight for _, weight in rows]
    if not sum(weights):
        with pytest.raises(ValueError, match="weight"):
            smallest_budget(needs(ages_ms, weights), keep)
        return

    def kept(budget_ms: int) -> int:
        return sum(weight for age, weight in rows if age <= budget_ms)

    found = smallest_budget(needs(ages_ms, weights), keep)
    assert kept(found.budget_ms) >= keep * sum(weights)
    assert kept(found.budget_ms - 1) < keep * sum(weights)
    assert found.kept == kept(found.budget_ms) / sum(weights)


def test_the_interval_covers_the_true_quantile_about_as_often_as_it_says() -> None:
    truth_ms = 1000 * np.exp(1.2816)  # the 90th percentile of what is drawn
    covered = 0
    for seed in range(60):
        ages = (1000 * np.exp(np.random.default_rng(seed).normal(0, 1, 2_000))).astype(int).tolist()
        found = smallest_budget(needs(ages), Fraction(9, 10), seed)
        assert found.low_ms is not None and found.high_ms is not None
        covered += found.low_ms <= truth_ms <= found.high_ms
    assert 50 <= covered <= 60


def test_bursts_make_the_interval_wider_than_single_decisions_would() -> None:
    chance = np.random.default_rng(2)
    levels = np.repeat(np.exp(chance.normal(7, 1, 50)), 40).astype(int).tolist()
    shuffled = [levels[index] for index in chance.permutation(len(levels)).tolist()]
    spread = []
    for ages_ms in (levels, shuffled):
        found = smallest_budget(needs(ages_ms), Fraction(9, 10))
        assert found.low_ms is not None and found.high_ms is not None
        spread.append(found.high_ms - found.low_ms)
    assert spread[0] > 2 * spread[1]


def test_the_same_seed_gives_the_same_interval_and_little_data_gives_none() -> None:
    ages_ms = list(range(1, 5_000))
    assert smallest_budget(needs(ages_ms), Fraction(9, 10), 4) == smallest_budget(needs(ages_ms), Fraction(9, 10), 4)
    few = smallest_budget(needs([5, 6, 7]), Fraction(9, 10))
    assert (few.budget_ms, few.low_ms, few.high_ms) == (7, None, None)


def test_another_budget_takes_the_total_and_the_segments_along() -> None:
    one = policy(budget="10m", segments={"fast": {"budget": "5s"}, "odd": {"on_stale": "drop"}})
    terms = with_budget(one, 1_200_000).freshness
    assert (terms.own.budget_ms, terms.total_ms) == (1_200_000, 1_200_000)
    assert (terms.of("odd").budget_ms, terms.of("fast").budget_ms) == (1_200_000, 5_000)
    fast = with_budget(one, 9_000, "fast").freshness
    assert (fast.own.budget_ms, fast.of("fast").budget_ms, fast.of("odd").budget_ms) == (600_000, 9_000, 600_000)


def test_a_stated_total_stays_unless_the_budget_is_longer() -> None:
    one = policy(budget="10m", total="30m")
    assert with_budget(one, 60_000).freshness.total_ms == 1_800_000
    assert with_budget(one, 3_600_000).freshness.total_ms == 3_600_000


def test_the_grid_is_around_the_present_budget_and_holds_it() -> None:
    assert grid(20_000) == (2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 80_000)
    assert grid(20_000, 4_001)[0] == 4_001
    assert grid(7 * DAY_MS)[-1] == 7 * DAY_MS


def test_questions_are_counted_by_the_second() -> None:
    none = np.array([], dtype=np.int64)
    asked = np.array([1_000, 1_999, 2_000, 9_500], dtype=np.int64)
    states, currencies = np.array([], dtype=np.int8), np.array([], dtype=np.int16)
    assert Replayed(1, states, none, currencies, (), asked).questions_a_second(8_000) == (0.5, 2)
    assert Replayed(1, states, none, currencies, (), none).questions_a_second(8_000) == (0.0, 0)


def test_values_are_told_by_state_and_currency() -> None:
    one = Replayed(
        1,
        np.array([State.KEPT, State.KEPT, State.DROPPED, State.KEPT], dtype=np.int8),
        np.array([5, 7, 11, 13], dtype=np.int64),
        np.array([0, 1, 1, -1], dtype=np.int16),
        ("EUR", "USD"),
        np.array([], dtype=np.int64),
    )
    assert one.value_minor(State.KEPT) == {"EUR": 5, "USD": 7}
    assert one.value_minor(State.DROPPED) == {"EUR": 0, "USD": 11}
    assert one.count(State.KEPT) == 3


def test_loss_rises_with_age_where_it_does() -> None:
    ages_ms = list(range(100))
    bins = binned_loss(ages_ms, [1_000] * 100, [1_000 - age for age in ages_ms], bins=4)
    assert [count for _, count, _ in bins] == [25, 25, 25, 25]
    assert [age_ms for age_ms, _, _ in bins] == [12, 37, 62, 87]
    assert [round(share, 3) for _, _, share in bins] == [0.012, 0.037, 0.062, 0.087]
    assert binned_loss([], [], []) == []
    assert binned_loss([1], [0], [5]) == []
