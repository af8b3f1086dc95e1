"""The smallest budget that keeps a share: found by arithmetic, then held against a replay through the path itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from agents.budget.replay import Replay
from schemas.topics import RETENTION_MS
from streams.budget import Ints, Recommendation, Replayed, State, smallest_budget
from streams.errors import ConfigurationError

By = Literal["value", "count"]


@dataclass(frozen=True)
class Wish:
    """What share is to be kept of what; `currency` only where it goes by value. The seed is that of the interval."""

    keep: Fraction
    by: By
    currency: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Shares:
    """Of what some budget would keep: what becomes of it under one budget. They add up to 1."""

    kept: float
    dropped: float
    reevaluated: float
    escalated: float
    other: float


@dataclass(frozen=True)
class Advice:
    """`predicted` is of the recommended budget, `present` of the one in force. `decisions` could be kept at all."""

    recommendation: Recommendation
    currency: str | None
    decisions: int
    predicted: Shares
    present: Shares
    present_ms: int


def advise(replay: Replay, wish: Wish, present_ms: int, passed: Callable[[int], None] = lambda _: None) -> Advice:
    """The recommendation and what comes of it, from three replays.

    Raises ConfigurationError where there is nothing to keep, or where it is not clear which currency is meant.
    """
    currency = _currency(replay, wish)
    unlimited = replay.under(RETENTION_MS, passed)
    chosen, needs = replay.needs(unlimited, currency)
    try:
        found = smallest_budget(needs, wish.keep, wish.seed)
    except ValueError as error:
        what = f"decision with a value in {currency}" if currency else "decision"
        raise ConfigurationError(
            f"no {what} of {replay.recording.workflow!r} in the range would be kept under any budget: there is nothing "
            "to choose a budget by; `sluicegate tail exceptions` says what ends them, or try --by count"
        ) from error
    predicted = shares(replay.under(found.budget_ms, passed), chosen, needs.weights)
    present = shares(replay.under(present_ms, passed), chosen, needs.weights)
    return Advice(found, currency, int(chosen.sum()), predicted, present, present_ms)


def shares(replayed: Replayed, chosen: npt.NDArray[np.bool_], weights: Ints) -> Shares:
    """What became of the chosen decisions, as shares of their weights."""
    total = int(weights.sum())
    by_state = {one: int(weights[replayed.states[chosen] == one].sum()) / total for one in State}
    return Shares(
        kept=by_state[State.KEPT],
        dropped=by_state[State.DROPPED],
        reevaluated=by_state[State.ASKED],
        escalated=by_state[State.SHOWN],
        other=by_state[State.OTHER],
    )


def _currency(replay: Replay, wish: Wish) -> str | None:
    if wish.by == "count":
        return None
    known = ", ".join(replay.names)
    if wish.currency is None and len(replay.names) == 1:
        return replay.names[0]
    if wish.currency in replay.names:
        return wish.currency
    if not replay.names:
        raise ConfigurationError("no decision in the range has a value and a currency: choose with --by count")
    if wish.currency is None:
        raise ConfigurationError(f"values are in {known}, which do not add up: name one with --currency, or --by count")
    raise ConfigurationError(f"no decision in the range has a value in {wish.currency}; there is {known}")
