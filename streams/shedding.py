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
from hashlib import sha256
from itertools import compress

import msgspec

from schemas.common import TIME_MS_MAX, Source
from schemas.exception import ExceptionRecord
from schemas.identifiers import exception_id
from streams.admission import Flow, Learnt
from streams.batch import Fetched, Output, Refused, Sent
from streams.choosing import Candidate, choose
from streams.glance import glance
from streams.headers import HeaderSettings, answer_headers, dead_letter_of
from streams.policy import Policy

SHED = "shed.overload"
STAGE = "shedding"
_NULL = msgspec.Raw(b"null")
_encode = msgspec.json.Encoder().encode


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
    found, first = list[Candidate](), 0
    for batch in fetched:
        if batch.input == "decisions":
            for index in range(len(batch)):
                seen = glance(batch, index)
                policy = None if seen is None else policies.get(seen.workflow)
                if seen is None or policy is None or (shedding := policy.freshness.shedding) is None:
                    continue
                terms = policy.freshness
                came_ms, observed_ms = batch.timestamps_ms[index], seen.observed_at_ms
                budget_ms = terms.of(seen.segment).budget_ms
                start_ms = shedding.start * budget_ms
                if observed_ms > came_ms + terms.skew_tolerance_ms or age_ms <= start_ms:
                    continue
                ends_ms = observed_ms + min(budget_ms, terms.total_ms)
                if seen.expires_at_ms is not None:
                    ends_ms = min(ends_ms, seen.expires_at_ms)
                kept_back_ms = allowances_ms.get(policy.index, terms.reserve.initial_ms)
                found.append(
                    Candidate(
                        first + index, seen, policy, budget_ms, start_ms, ends_ms - kept_back_ms, ends_ms - came_ms
                    )
                )
        first += len(batch)
    return found


def _answers(
    fetched: Sequence[Fetched],
    chosen: Mapping[int, tuple[Candidate, str]],
    age_ms: int,
    now_ms: int,
    settings: HeaderSettings,
) -> tuple[dict[int, Sent], dict[tuple[str, Output, str], int]]:
    refusals = {why: Refused(SHED, f"the queue is {age_ms} ms old, and {why}") for _, why in chosen.values()}
    found, first = dict[int, Sent](), 0
    for batch in fetched:
        for index in range(len(batch)):
            if (one := chosen.get(first + index)) is not None:
                found[first + index] = _answer(batch, index, one[0], refusals[one[1]], now_ms, settings)
        first += len(batch)
    workflows = Counter(candidate.seen.workflow for candidate, _ in chosen.values())
    return found, {(workflow, "exceptions", SHED): count for workflow, count in workflows.items()}


def _answer(
    batch: Fetched, index: int, one: Candidate, refused: Refused, now_ms: int, settings: HeaderSettings
) -> Sent:
    """The exception: id, source and hash, not the body."""
    seen, value, offset = one.seen, batch.values[index] or b"", batch.offsets[index]
    expires_ms = TIME_MS_MAX if seen.expires_at_ms is None else seen.expires_at_ms
    source = Source(batch.topic, batch.partition, offset)
    identifier = exception_id(batch.topic, batch.partition, offset, SHED)
    record = ExceptionRecord(
        exception_id=identifier,
        kind="disposition",
        decision_id=seen.id,
        workflow=seen.workflow,
        entity=seen.entity,
        reason=SHED,
        stage=STAGE,
        detail=refused.detail,
        age_ms=max(0, now_ms - seen.observed_at_ms),
        budget_ms=one.budget_ms,
        policy=one.policy.name,
        rule=None,
        attempt=1,
        first_reason=SHED,
        fingerprint=None,
        value_minor=seen.value_minor,
        currency=seen.currency,
        caused_by=None,
        gated_at_ms=now_ms,
        deadline_ms=min(seen.observed_at_ms + one.budget_ms, expires_ms),
        final_deadline_ms=min(seen.observed_at_ms + one.policy.freshness.total_ms, expires_ms),
        stages_ms=None,
        decision=_NULL,
        raw=None,
        raw_sha256=sha256(value).hexdigest(),
        raw_bytes=len(value),
        source=source,
        trace=[],
    )
    came = () if batch.headers is None else batch.headers[index]
    headers = answer_headers("exceptions", identifier, seen.entity, None, came, settings)
    return Sent(
        "exceptions",
        batch.keys[index],
        _encode(record),
        headers + dead_letter_of(source, 1, STAGE, refused, came, settings),
    )


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
