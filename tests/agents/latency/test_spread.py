"""Distributions in bounded memory: quantiles that are never less than they were, and at most 1/32 more."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from agents.latency.spread import bin_of, quantiles, upper_edge


@given(st.integers(0, 2**60))
def test_a_number_is_in_its_bin(number: int) -> None:
    edge = upper_edge(bin_of(number))
    assert number <= edge <= number + number // 32
    assert bin_of(edge) == bin_of(number)
    assert bin_of(edge + 1) == bin_of(number) + 1


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60))
def test_quantiles_are_by_nearest_rank(numbers: list[int]) -> None:
    found = quantiles(Counter(map(bin_of, numbers)), (50, 95, 99))
    ordered = sorted(numbers)
    exact = [ordered[max(1, -(-len(ordered) * percent // 100)) - 1] for percent in (50, 95, 99)]
    assert found == [upper_edge(bin_of(number)) for number in exact]


def test_of_nothing_there_are_none_and_below_64_they_are_exact() -> None:
    assert quantiles(Counter(), (50,)) is None
    assert [upper_edge(bin_of(number)) for number in range(64)] == list(range(64))
    assert bin_of(-5) == 0
