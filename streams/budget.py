"""Which freshness budget keeps how much: arithmetic over columns of decisions that were replayed.

`smallest_budget` is a weighted quantile of what each decision needs, with an interval by a block bootstrap: ages come
in bursts, and single decisions drawn anew would make the interval too narrow, so whole stretches of time are drawn
(Künsch 1989; non-overlapping blocks: Carlstein 1986), and the interval is that of the percentiles (Efron 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from schemas.topics import RETENTION_MS
from streams.policy import Policy

Ints = npt.NDArray[np.int64]
BLOCKS = 50  # stretches of time that are drawn; longer than a burst, and many enough to differ
BLOCKS_MIN = 10  # that hold decisions; with fewer an interval would only look like one
RESAMPLES = 1_000
BINS_MAX = 2_000  # of the needs, for the resamples: the interval's ends are exact to a two-thousandth of the decisions
INTERVAL_PERCENT = (2.5, 97.5)
GRID = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)  # of the present budget


class State(IntEnum):
    """What became of a decision in a replay, over all its attempts."""

    KEPT = 0  # a command, or a review that is not about its being stale
    DROPPED = 1  # stale, or asked again in vain
    ASKED = 2  # asked again, and no answer is on record
    SHOWN = 3  # stale, and shown to a person
    OTHER = 4  # ended for another reason, which no budget changes


@dataclass(frozen=True)
class Replayed:
    """One replay under one budget: columns over the decisions (first attempts), and when the evaluator was asked.

    `values_minor` is the magnitude of the value, 0 without one; `currencies` indexes `names`, -1 without one.
    """

    budget_ms: int
    states: npt.NDArray[np.int8]
    values_minor: Ints
    currencies: npt.NDArray[np.int16]
    names: tuple[str, ...]
    questions_ms: Ints

    def count(self, state: State) -> int:
        return int(np.count_nonzero(self.states == state))

    def value_minor(self, state: State) -> dict[str, int]:
        """The magnitudes of the values by currency."""
        here = self.states == state
        return {
            name: int(self.values_minor[here & (self.currencies == index)].sum())
            for index, name in enumerate(self.names)
        }

    def questions_a_second(self, span_ms: int) -> tuple[float, int]:
        """Mean over `span_ms`, and the most within one second of the clock."""
        if not len(self.questions_ms):
            return 0.0, 0
        seconds = self.questions_ms // 1000
        return len(seconds) * 1000 / max(1, span_ms), int(np.unique(seconds, return_counts=True)[1].max())


@dataclass(frozen=True)
class Needs:
    """Of each decision that some budget keeps: when it was decided, the least budget that keeps it, what it counts."""

    at_ms: Ints
    needs_ms: Ints
    weights: Ints


@dataclass(frozen=True)
class Recommendation:
    """`low_ms` and `high_ms` are None where the decisions fill too few stretches of time for an interval.

    `kept` is the share that the budget keeps of what was looked at, at least what was asked for.
    """

    budget_ms: int
    low_ms: int | None
    high_ms: int | None
    kept: float
    beyond: int  # decisions that need more than the budget: what the end of the distribution is known from


def with_budget(policy: Policy, budget_ms: int, segment: str | None = None) -> Policy:
    """The policy with another budget: the workflow's own, and of the segments that have none; or one segment's.

    A total that is as long as the longest budget, or shorter than the new one, follows.
    """
    terms = policy.freshness
    own, segments = terms.own, dict(terms.segments)
    longest_ms = max([own.budget_ms, *(one.budget_ms for one in segments.values())])
    if segment is None:
        segments = {
            name: replace(one, budget_ms=budget_ms) if one.budget_ms == own.budget_ms else one
            for name, one in segments.items()
        }
        own = replace(own, budget_ms=budget_ms)
    else:
        segments[segment] = replace(terms.of(segment), budget_ms=budget_ms)
    new_longest_ms = max([own.budget_ms, *(one.budget_ms for one in segments.values())])
    total_ms = new_longest_ms if terms.total_ms == longest_ms else max(terms.total_ms, new_longest_ms)
    return replace(policy, freshness=replace(terms, own=own, segments=segments, total_ms=total_ms))


def grid(budget_ms: int, at_least_ms: int = 1) -> tuple[int, ...]:
    """Budgets around the present one, rising; each more than is kept back for the executor."""
    near = {max(at_least_ms, round(budget_ms * factor)) for factor in GRID} | {budget_ms}
    return tuple(sorted(one for one in near if one <= RETENTION_MS))


def smallest_budget(needs: Needs, keep: Fraction, seed: int = 0) -> Recommendation:
    """The smallest budget that keeps the share `keep` (over 0, at most 1) of the weights.

    Raises ValueError when nothing has a weight.
    """
    order = np.argsort(needs.needs_ms, kind="stable")
    sorted_ms, cumulated = needs.needs_ms[order], np.cumsum(needs.weights[order])
    if not len(cumulated) or cumulated[-1] <= 0:
        raise ValueError("nothing that is to be kept has a weight")
    budget_ms = int(sorted_ms[_first_at(cumulated, keep)])
    kept = int(cumulated[np.searchsorted(sorted_ms, budget_ms, side="right") - 1])
    low_ms, high_ms = _interval(needs, keep, seed)
    beyond = int(np.count_nonzero(sorted_ms > budget_ms))
    return Recommendation(budget_ms, low_ms, high_ms, kept / int(cumulated[-1]), beyond)


def _first_at(cumulated: Ints, keep: Fraction) -> int:
    wanted = -((-int(cumulated[-1]) * keep.numerator) // keep.denominator)  # rounded up, in integers
    return int(np.searchsorted(cumulated, max(1, wanted)))


def _interval(needs: Needs, keep: Fraction, seed: int) -> tuple[int | None, int | None]:
    edges_ms, bins = _bins(needs.needs_ms)
    start_ms, span_ms = int(needs.at_ms.min()), int(np.ptp(needs.at_ms)) + 1
    blocks = (needs.at_ms - start_ms) * BLOCKS // span_ms
    table = np.zeros((BLOCKS, len(edges_ms)))
    np.add.at(table, (blocks, bins), needs.weights)
    table = table[table.any(axis=1)]
    if len(table) < BLOCKS_MIN:
        return None, None
    chance = np.random.default_rng(seed)
    drawn = chance.multinomial(len(table), np.full(len(table), 1 / len(table)), size=RESAMPLES)
    cumulated = np.cumsum(drawn @ table, axis=1)
    at = np.argmax(cumulated >= cumulated[:, -1:] * float(keep) * (1 - 1e-12), axis=1)
    low, high = np.percentile(edges_ms[at], INTERVAL_PERCENT, method="closest_observation")
    return int(low), int(high)


def _bins(needs_ms: Ints) -> tuple[Ints, npt.NDArray[np.intp]]:
    """The upper edges of bins that hold about equally many, and the bin of each."""
    edges_ms = np.unique(needs_ms)
    if len(edges_ms) > BINS_MAX:
        ranks = np.linspace(0, len(needs_ms) - 1, BINS_MAX).astype(np.int64)
        edges_ms = np.unique(np.sort(needs_ms)[ranks])
    return edges_ms, np.searchsorted(edges_ms, needs_ms)


def binned_loss(
    ages_ms: Sequence[int], promised_minor: Sequence[int], realised_minor: Sequence[int], bins: int = 12
) -> list[tuple[int, int, float]]:
    """Realised loss against age at action: age (median of the bin), how many, and the share of the promise lost.

    Bins hold about equally many; their promise is the sum of magnitudes, so that a refund is no gain.
    """
    order = np.argsort(np.array(ages_ms, dtype=np.int64), kind="stable")
    found = []
    for part in np.array_split(order, max(1, min(bins, len(order) // 5))):
        promised = sum(abs(promised_minor[index]) for index in part.tolist())
        lost = sum(promised_minor[index] - realised_minor[index] for index in part.tolist())
        if promised:
            found.append((ages_ms[int(part[len(part) // 2])], len(part), lost / promised))
    return found
