"""Shedding: under overload, what is not decided in full is chosen here, and answered at once as `shed.overload`.

Only workflows that have `freshness.overload` are shed, and only while the queue is older than their `start`: bursts
are absorbed. Then go first what cannot make its deadline any more, then (`newest_first`) what a later observation of
its entity waits behind, and of the rest what is worth least within its currency, as much as `admission` says.

A record that is shed is only glanced at: its id, workflow, entity, times and value are read, its action is not. So it
may be one that `ingest` would have refused. What the glance cannot vouch for (no decision, another key, a time that
cannot be, an unknown workflow) takes the full path, and so does every successor: on it work has been spent.

It does not enter the window: the same id may come again later, when there is room, and is decided then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

from streams.admission import Flow, Learnt
from streams.batch import Fetched, Output, Refused, Sent
from streams.choosing import Candidate, Kind, choose
from streams.glance import glance
from streams.headers import HeaderSettings
from streams.policy import Policy
from streams.shed_text import SHED, Answers

# From the decision until it is read, when everything is busy; with less left a record is late. A transaction that takes
# longer than a command in it has left is undone, and its partition handed over anew: what an overload needs least.
PUBLISH_MS = 500
PUBLISH_SHARE = 0.1  # of a short budget no more than this


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a batch is decided in full, and the answers to the rest. `learnt` holds once it is committed."""

    full: Sequence[Fetched]
    answers: Mapping[int, Sent]  # by place in the batch
    counts: Mapping[tuple[str, Output, str], int]  # like `Decided.counts`
    learnt: Learnt

    def joined(self, records: Sequence[Sent]) -> list[Sent]:
        """The answers put among the records of `full`: one for each input, in its order."""
        if not self.answers:
            return list(records)
        rest = iter(records)
        places = range(len(records) + len(self.answers))
        return [self.answers[place] if place in self.answers else next(rest) for place in places]


class Admission:
    """Chooses what is shed, for one partition number of the gate.

    `capacity_per_s`: how many decisions in full it may take; None: as many as its pace shows while it is busy.
    """

    def __init__(self, capacity_per_s: float | None = None) -> None:
        self.learnt = Learnt(Flow(capacity_per_s, capacity_per_s is not None), {})

    def plan(
        self,
        fetched: Sequence[Fetched],
        now_ms: int,
        policies: Mapping[str, Policy],
        allowances_ms: Mapping[int, int],
        settings: HeaderSettings,
    ) -> Plan | None:
        """What is to be shed of a batch that is decided at `now_ms`; None: nothing, and nothing was learnt.

        Changes nothing: `learnt` of the plan becomes this one's once the batch is final. Where the broker's time is not
        known the age of the queue is not either, and nothing is shed. `allowances_ms` is by policy index, see
        `streams.memory`. Raises nothing on bad input.
        """
        times_ms = [time_ms for batch in fetched for time_ms in batch.timestamps_ms]
        if not times_ms or not all(batch.broker_time for batch in fetched):
            return None
        starts_ms = [start_ms for policy in policies.values() if (start_ms := _start_ms(policy)) is not None]
        if not starts_ms:
            return None
        newest_ms = max(times_ms)
        known = Learnt(self.learnt.flow.seen(min(times_ms), newest_ms, len(times_ms), now_ms), self.learnt.recent)
        age_ms = now_ms - newest_ms
        overloaded = age_ms > min(starts_ms)
        candidates = _candidates(fetched, now_ms, age_ms, policies, allowances_ms) if overloaded else []
        chosen, learnt = choose(candidates, len(times_ms), age_ms, now_ms, known)
        answers, counts = _answers(fetched, chosen, age_ms, now_ms, settings)
        return Plan(_full(fetched, answers), answers, counts, learnt)


def _start_ms(policy: Policy) -> float | None:
    """The least age of the queue at which something of this workflow is shed."""
    terms = policy.freshness
    if terms.shedding is None:
        return None
    return terms.shedding.start * min([terms.own.budget_ms, *(one.budget_ms for one in terms.segments.values())])


def _candidates(
    fetched: Sequence[Fetched],
    now_ms: int,
    age_ms: int,
    policies: Mapping[str, Policy],
    allowances_ms: Mapping[int, int],
) -> list[Candidate]:
    """What may be shed at this age of the queue, in the input's order."""
    kinds: dict[tuple[str, str | None], Kind | None] = {}
    found, first = list[Candidate](), 0
    for batch in fetched:
        if batch.input == "decisions":
            for index, came_ms in enumerate(batch.timestamps_ms):
                if (seen := glance(batch, index)) is None:
                    continue
                named = (seen.workflow, seen.segment)
                if named not in kinds:
                    kinds[named] = _kind(policies.get(seen.workflow), seen.segment, allowances_ms)
                kind = kinds[named]
                if kind is None or age_ms <= kind.start_ms or seen.observed_at_ms > came_ms + kind.tolerance_ms:
                    continue
                ends_ms = seen.observed_at_ms + kind.span_ms
                if seen.expires_at_ms is not None and seen.expires_at_ms < ends_ms:
                    ends_ms = seen.expires_at_ms
                late = ends_ms - kind.kept_back_ms <= now_ms
                found.append(Candidate(first + index, seen, kind, late, ends_ms - came_ms))
        first += len(batch)
    return found


def _kind(policy: Policy | None, segment: str | None, allowances_ms: Mapping[int, int]) -> Kind | None:
    if policy is None or (shedding := policy.freshness.shedding) is None:
        return None
    terms = policy.freshness
    budget_ms = terms.of(segment).budget_ms
    publish_ms = min(PUBLISH_MS, int(budget_ms * PUBLISH_SHARE))
    return Kind(
        policy=policy,
        budget_ms=budget_ms,
        start_ms=shedding.start * budget_ms,
        pressed=(shedding.start * budget_ms, budget_ms),
        newest_first=shedding.newest_first,
        span_ms=min(budget_ms, terms.total_ms),
        kept_back_ms=allowances_ms.get(policy.index, terms.reserve.initial_ms) + publish_ms,
        tolerance_ms=terms.skew_tolerance_ms,
    )


def _answers(
    fetched: Sequence[Fetched],
    chosen: Mapping[int, tuple[Candidate, str]],
    age_ms: int,
    now_ms: int,
    settings: HeaderSettings,
) -> tuple[dict[int, Sent], dict[tuple[str, Output, str], int]]:
    found, first = dict[int, Sent](), 0
    counts: Counter[tuple[str, Output, str]] = Counter()
    for batch in fetched:
        made: dict[tuple[str, str, int], Answers] = {}
        last: tuple[Kind | None, str] = (None, "")
        for index in range(len(batch)):
            if (hit := chosen.get(first + index)) is None:
                continue
            (_, seen, kind, _, _), why = hit
            if kind is not last[0] or why is not last[1]:  # most are of the same kind as the one before
                last = kind, why
                of = (why, kind.policy.workflow, kind.budget_ms)
                if of not in made:
                    refused = Refused(SHED, f"the queue is {age_ms} ms old, and {why}")
                    made[of] = Answers(batch, kind.policy, kind.budget_ms, refused, now_ms, settings)
                answers = made[of]
            found[first + index] = answers.answer(index, seen)
        for one in made.values():
            counts[one.workflow, "exceptions", SHED] += one.count
        first += len(batch)
    return found, counts


def _full(fetched: Sequence[Fetched], answers: Mapping[int, Sent]) -> Sequence[Fetched]:
    """The batches without what has its answer."""
    if not answers:
        return fetched
    kept, first = list[Fetched](), 0
    for batch in fetched:
        stays = [place not in answers for place in range(first, first + len(batch))]
        first += len(batch)
        kept.append(
            replace(
                batch,
                offsets=list(compress(batch.offsets, stays)),
                timestamps_ms=list(compress(batch.timestamps_ms, stays)),
                keys=list(compress(batch.keys, stays)),
                values=list(compress(batch.values, stays)),
                headers=None if batch.headers is None else list(compress(batch.headers, stays)),
            )
        )
    return kept
