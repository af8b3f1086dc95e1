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
# tests/bench/overload.py: 93 % of what an oracle issues at 0.05 and 0.5, 88 % at 0.25 and 0.7).
HOLD = 0.5
_ROOM_QUANTILE = 0.05  # so many have less time left than this reckons with; they go first as they run out of it
_WIDTH_MIN = 0.2  # of `start`: where hardly any time is left after it, the share still falls over this much
RECENT = 512  # records by which a value, or the room that there is, is judged; of each currency and of each budget
_KEYS_MAX = 256  # currencies and budgets that are told apart; there are fewer, and input may name anything
_SPREAD = 0.6180339887498949  # multiples of it, without their whole part, are spread evenly over 0 ... 1
LATE = "it cannot make its deadline any more"
PASSED = "a later observation of its entity waits in the same batch"
LEAST = "of what waits it is worth least"


class Kind(NamedTuple):
    """What holds for all decisions of one workflow and segment. `span_ms`: from observation to the deadline."""

    policy: Policy
    budget_ms: int
    start_ms: float
    pressed: tuple[float, int]  # start and budget: of two queues that are as old, the smaller one is pressed more
    newest_first: bool
    span_ms: int
    kept_back_ms: int
    tolerance_ms: int


class Candidate(NamedTuple):
    """A record that may be shed. `place`: in the batch; `room_ms`: from when the broker had it to its deadline."""

    place: int
    seen: Glance
    kind: Kind
    late: bool
    room_ms: int


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
        if one.late:
            chosen[one.place] = one, LATE
    for one in _passed([one for one in candidates if one.place not in chosen]):
        chosen[one.place] = one, PASSED
    flow, recent = known.flow, dict(known.recent)
    order = np.argsort(_ranks(candidates, recent), kind="stable").tolist()
    shares, owed = _shares(candidates, age_ms, flow, recent), 0.0
    for pressed, share in shares:
        wanted = size * (1 - share) + flow.owed
        missing = int(wanted) - len(chosen)
        owed = wanted - int(wanted)
        if missing > 0:
            rest = [one for index in order if (one := candidates[index]).place not in chosen]
            if len(shares) > 1:
                rest = [one for one in rest if one.kind.pressed <= pressed]
            for one in rest[:missing]:
                chosen[one.place] = one, LEAST
    return chosen, Learnt(flow.done(size - len(chosen), len(chosen), owed, now_ms), recent)


def _passed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Where the policy wants the newest first: all but the latest observed of each entity. Ties all stay."""
    own = [one for one in candidates if one.kind.newest_first]
    latest: dict[tuple[str, str], int] = {}
    for one in own:
        of = (one.seen.workflow, one.seen.entity)
        latest[of] = max(latest.get(of, 0), one.seen.observed_at_ms)
    return [one for one in own if one.seen.observed_at_ms < latest[one.seen.workflow, one.seen.entity]]


def _shares(
    candidates: Sequence[Candidate], age_ms: int, flow: Flow, recent: dict[str, NDArray[np.int64]]
) -> list[tuple[tuple[float, int], float]]:
    """For each (start, budget) the share of the queue to be decided in full, the longest first."""
    kinds = {one.kind.pressed for one in candidates}
    found = []
    for start_ms, budget_ms in sorted(kinds, reverse=True):
        if len(kinds) > 1:
            rooms = [one.room_ms for one in candidates if one.kind.pressed == (start_ms, budget_ms)]
        else:
            rooms = [one.room_ms for one in candidates]
        own = np.array(rooms, dtype=np.int64)
        known = _remember(recent, f"{start_ms}/{budget_ms}", own)
        room_ms = float(np.quantile(known, _ROOM_QUANTILE))
        hold_ms = start_ms + max((room_ms - start_ms) * HOLD, start_ms * _WIDTH_MIN)
        found.append(((start_ms, budget_ms), flow.share(age_ms, start_ms, hold_ms)))
    return found


def _ranks(candidates: Sequence[Candidate], recent: dict[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    """From 0 to 1, by |value| within the currency; below 0 where no value is given."""
    seen = [one.seen for one in candidates]
    given = [one.value_minor for one in seen]
    spread = (np.array([one.place for one in candidates]) * _SPREAD) % 1
    if None in given:
        valued = np.array([value is not None for value in given])
        values = np.abs(np.array([value or 0 for value in given], dtype=np.int64))
    else:
        valued, values = np.ones(len(given), dtype=bool), np.abs(np.array(given, dtype=np.int64))
    ranks = spread - 1
    stated = [one.currency or "" for one in seen]
    currencies = set(stated)
    for currency in sorted(currencies):
        own = valued & np.array([one == currency for one in stated]) if len(currencies) > 1 else valued
        if not own.any():
            continue
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
