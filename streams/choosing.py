"""Choosing: of what may be shed, which records, over columns.

What things are worth is compared within a currency only: a record's rank is the share of the recent ones in its
currency that are worth less, so each currency keeps the same share of its records, and a small batch is judged by what
came before it as well. Of equal values some are as good as others: a fixed sequence spreads them evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.admission import Flow, Learnt
from streams.glance import Glance
from streams.policy import Policy

# Where the queue's age is held: so far on the way from `start` to where the first records run out of time. Holding it
# higher issues less in time: what is late is lost whatever it is worth, while what is shed is chosen (measured with
# tests/bench/overload.py: 95 % of what an oracle issues at 0.05 and 0.5, 87 % at 0.25 and 0.7).
HOLD = 0.5
_ROOM_QUANTILE = 0.05  # so many have less time left than this reckons with; they go first as they run out of it
_WIDTH_MIN = 0.2  # of `start`: where hardly any time is left after it, the share still falls over this much
RECENT = 512  # records by which a value, or the room that there is, is judged; of each currency and of each budget
_KEYS_MAX = 256  # currencies and budgets that are told apart; there are fewer, and input may name anything
_SPREAD = 0.6180339887498949  # multiples of it, without their whole part, are spread evenly over 0 ... 1
PUBLISH_MS = 100  # from the decision until it is read, when the gate is busy; with less left a record is late
_PUBLISH_SHARE = 0.1  # but of a short budget no more than this

LATE = "it cannot make its deadline any more"
PASSED = "a later observation of its entity waits in the same batch"
LEAST = "of what waits it is worth least"


class Candidate(NamedTuple):
    """A record that may be shed. `place`: in the batch; `ends_ms`: the last time to publish it."""

    place: int
    seen: Glance
    policy: Policy
    budget_ms: int
    start_ms: float
    ends_ms: int
    room_ms: int  # what was left to its deadline when the broker had it


def choose(
    candidates: Sequence[Candidate], size: int, age_ms: int, now_ms: int, known: Learnt
) -> tuple[dict[int, tuple[Candidate, str]], Learnt]:
    """What is shed of a batch of `size` records, by place and with why; and what is known afterwards.

    Each (start, budget) among the candidates demands that so many of the batch go. The least demand is met from all
    candidates; a greater one, of a shorter budget, by what is shed already and more of its own kind.
    """
    chosen: dict[int, tuple[Candidate, str]] = {}
    if not candidates:
        return chosen, known._replace(flow=known.flow.done(size, 0, 0.0, now_ms))
    for one in candidates:
        if one.ends_ms <= now_ms + min(PUBLISH_MS, one.budget_ms * _PUBLISH_SHARE):
            chosen[one.place] = one, LATE
    for one in _passed([one for one in candidates if one.place not in chosen]):
        chosen[one.place] = one, PASSED
    flow, recent = known.flow, dict(known.recent)
    order = [candidates[index] for index in np.argsort(_ranks(candidates, recent), kind="stable").tolist()]
    owed = 0.0
    for kind, share in _shares(candidates, age_ms, flow, recent):
        wanted = size * (1 - share) + flow.owed
        missing = int(wanted) - len(chosen)
        owed = wanted - int(wanted)
        if missing > 0:
            pressed = [one for one in order if one.place not in chosen and (one.start_ms, one.budget_ms) <= kind]
            for one in pressed[:missing]:
                chosen[one.place] = one, LEAST
    return chosen, Learnt(flow.done(size - len(chosen), len(chosen), owed, now_ms), recent)


def _passed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Where the policy wants the newest first: all but the latest observed of each entity. Ties all stay."""
    own = [one for one in candidates if (shedding := one.policy.freshness.shedding) and shedding.newest_first]
    latest: dict[tuple[str, str], int] = {}
    for one in own:
        of = (one.seen.workflow, one.seen.entity)
        latest[of] = max(latest.get(of, 0), one.seen.observed_at_ms)
    return [one for one in own if one.seen.observed_at_ms < latest[one.seen.workflow, one.seen.entity]]


def _shares(
    candidates: Sequence[Candidate], age_ms: int, flow: Flow, recent: dict[str, NDArray[np.int64]]
) -> list[tuple[tuple[float, int], float]]:
    """For each (start, budget) the share of the queue to be decided in full, the longest first."""
    found = []
    for start_ms, budget_ms in sorted({(one.start_ms, one.budget_ms) for one in candidates}, reverse=True):
        rooms = [one.room_ms for one in candidates if (one.start_ms, one.budget_ms) == (start_ms, budget_ms)]
        known = _remember(recent, f"{start_ms}/{budget_ms}", np.array(rooms, dtype=np.int64))
        room_ms = float(np.quantile(known, _ROOM_QUANTILE))
        hold_ms = start_ms + max((room_ms - start_ms) * HOLD, start_ms * _WIDTH_MIN)
        found.append(((start_ms, budget_ms), flow.share(age_ms, start_ms, hold_ms)))
    return found


def _ranks(candidates: Sequence[Candidate], recent: dict[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """From 0 to 1, by |value| within the currency; below 0 where no value is given."""
    places = np.array([one.place for one in candidates])
    valued = np.array([one.seen.value_minor is not None for one in candidates])
    values = np.array([abs(one.seen.value_minor or 0) for one in candidates], dtype=np.int64)
    currencies = np.array([one.seen.currency or "" for one in candidates])
    spread = (places * _SPREAD) % 1
    ranks = spread - 1
    for currency in np.unique(currencies[valued]).tolist():
        own = valued & (currencies == currency)
        known = np.sort(_remember(recent, currency, values[own]))
        below, upto = np.searchsorted(known, values[own], "left"), np.searchsorted(known, values[own], "right")
        ranks[own] = (below + (upto - below) * spread[own]) / len(known)
    return ranks


def _remember(recent: dict[str, NDArray[np.int64]], key: str, new: NDArray[np.int64]) -> NDArray[np.int64]:
    """The recent ones and the new ones together; of these the last RECENT are kept."""
    known = np.concatenate([recent.get(key, new[:0]), new])
    if key in recent or len(recent) < _KEYS_MAX:
        recent[key] = known[-RECENT:]
    return known
