"""A distribution of whole numbers in bounded memory: exact below 64, above within 1/32 of the number.

Each doubling has 32 bins, and a quantile is told as the upper edge of its bin: never less than it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

EXACT_BITS = 6
_BINS = 1 << (EXACT_BITS - 1)  # in each doubling from 64 on


def bin_of(number: int) -> int:
    """The bin of a number; what is negative counts as 0."""
    shift = max(0, max(0, number).bit_length() - EXACT_BITS)
    return shift * _BINS + (max(0, number) >> shift)


def upper_edge(index: int) -> int:
    """The largest number of a bin."""
    shift = max(0, index // _BINS - 1)
    return ((index - shift * _BINS + 1) << shift) - 1


def quantiles(counts: Counter[int], percents: Iterable[int]) -> list[int] | None:
    """Nearest rank, of the numbers by bin; None without any."""
    total = counts.total()
    if not total:
        return None
    found, passed, ordered = [], 0, iter(sorted(counts.items()))
    index = 0
    for percent in sorted(percents):
        rank = max(1, -(-total * percent // 100))
        while passed < rank:
            index, count = next(ordered)
            passed += count
        found.append(upper_edge(index))
    return found
