"""What is to be read for a backtest, and the replay of one partition number while it is read.

Answers are chosen by the gate's clock, so that a batch is whole or not there. They are read first, because they say
which inputs belong together; the decisions then stream through the replay and need not all be in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.audit.inputs import Place
from agents.audit.read import Reach, consumer, read
from agents.backtest.answers import Answer, Answers
from agents.backtest.batches import Batches, Event
from agents.backtest.contexts import Looked, Told, looked_at
from agents.backtest.documents import published, unpacked
from agents.backtest.replay import GUESSED_MISSING, Comparison, Side, World
from agents.recorded.topics import ANSWERS, INPUTS, Topics, opened, told
from schemas.policy import PolicyDocument
from streams.backtest import Tally
from streams.errors import ConfigurationError
from streams.policy import Policy
from streams.runtime.policies_topic import read_edition
from streams.runtime.settings import Kafka

SLACK_MS = 60_000  # from the gate's clock until the broker has the output: a transaction may take 10 s, clocks differ
PASSED_EVERY = 20_000  # records; telling more often costs more than it tells


@dataclass(frozen=True)
class Asked:
    """What is wanted: decided from `from_ms` until before `to_ms`, of one workflow or of all that have a candidate."""

    bootstrap: str
    prefix: str
    from_ms: int
    to_ms: int
    workflow: str | None
    examples_max: int


@dataclass(frozen=True)
class Job:
    """One partition number. `spans`: the offsets to be read of each output topic; `documents`: of the candidate;
    `against`: of the policies it is compared with, None for what was recorded.
    """

    asked: Asked
    number: int
    partitions: int
    spans: dict[str, tuple[int, int]]
    warm_ms: int
    documents: list[bytes]
    against: list[bytes] | None
    looked: dict[str, Looked]
    contexts_to: int | None  # the end of the topic `context`, where it has to be read

    @property
    def records(self) -> int:
        """About how many records it is: each output has its input."""
        return 2 * sum(end - start for start, end in self.spans.values())


@dataclass(frozen=True)
class Plan:
    """All of it. `recorded`: the policies that the topic `policies` holds, by name; `forgotten_ms`: the oldest input
    that is left, where some were deleted and the warm-up would have begun before it.
    """

    jobs: list[Job]
    recorded: dict[str, PolicyDocument]
    forgotten_ms: int | None = None
    notes: list[str] = field(default_factory=list)


async def plan(asked: Asked, candidate: Sequence[Policy], against: Sequence[Policy] | None, packed: _Packed) -> Plan:
    """Finds out what is there. Raises ConfigurationError where there is nothing to replay, and BrokerUnreachable."""
    if asked.from_ms >= asked.to_ms:
        raise ConfigurationError(
            f"the range is empty: --from {told(asked.from_ms)} is not before --to {told(asked.to_ms)}"
        )
    both = [*candidate, *(against or ())]
    warm_ms = max(0, asked.from_ms - max(map(_remembered_ms, both)))
    async with opened(asked.bootstrap, asked.prefix, (*ANSWERS, *INPUTS, "context", "policies")) as topics:
        places = topics.places(ANSWERS)
        ends = await topics.ends(places)
        starts = await topics.at(warm_ms, places, ends)
        until = await topics.at(asked.to_ms + SLACK_MS, places, ends)
        forgotten_ms = await _forgotten_ms(topics, warm_ms)
        context_ends = await topics.ends(topics.places(["context"]))
        has_policies = topics.counts.get(asked.prefix + "policies", 0) > 0
    recorded = {}
    if has_policies:
        recorded = published((await read_edition(Kafka(asked.bootstrap, asked.prefix))).versions)
    looked = {name: looked_at(document) for name, document in recorded.items()}
    needs_topic = _needs_topic(both, looked)
    spans: dict[int, dict[str, tuple[int, int]]] = {}
    for topic, number in places:
        start, end = starts[topic, number][0], min(ends[topic, number], until[topic, number][0])
        spans.setdefault(number, {})[topic] = (start, max(start, end))
    jobs = [
        Job(
            asked,
            number,
            len(spans),
            span,
            warm_ms,
            *packed,
            looked,
            context_ends.get((asked.prefix + "context", number)) if needs_topic else None,
        )
        for number, span in sorted(spans.items())
    ]
    return Plan(jobs, recorded, forgotten_ms)


_Packed = tuple[list[bytes], list[bytes] | None]


def _remembered_ms(policy: Policy) -> int:
    """How long an id or an observation is remembered at most, from when it was decided."""
    return policy.freshness.total_ms + 2 * policy.freshness.skew_tolerance_ms


async def _forgotten_ms(topics: Topics, warm_ms: int) -> int | None:
    places = topics.places(INPUTS)
    starts, ends = await topics.starts(places), await topics.ends(places)
    oldest = await topics.at(0, places, ends)
    late = [oldest[place][1] for place in places if starts[place] > 0 and oldest[place][1] > warm_ms]
    return max(late, default=None)


def _needs_topic(policies: Sequence[Policy], looked: dict[str, Looked]) -> bool:
    """Whether the answers alone may not say what context was there."""
    if all(one.freshness.context is None for one in policies):
        return False
    wanted = {one.workflow: one.freshness.context for one in policies}
    known = {name: one.fields for name, one in looked.items() if name.rpartition("@")[0] in wanted}
    return not known or any(fields != wanted[name.rpartition("@")[0]] for name, fields in known.items())


async def replayed(job: Job, passed: Callable[[int], None]) -> Tally:
    """Reads one partition number and replays it; `passed` hears how many records went by.

    Raises BrokerUnreachable, and CheckFailed where an open transaction hides what is to be read.
    """
    asked, reach = job.asked, Reach(job.asked.bootstrap)
    candidate = unpacked(job.documents)
    against = None if job.against is None else unpacked(job.against)
    workflows = {one.workflow for one in (*candidate, *(against or ()))}
    async with consumer(reach, "read_committed") as client:
        source = _Source(client, reach, asked.prefix, job.number, passed)
        answers, left_out = await _answers(source, job, workflows)
        world = World(
            {kind: asked.prefix + kind for kind in INPUTS}, job.partitions, job.looked, await _contexts(source, job)
        )
        successors = answers["successors"]
        events = [
            Event(record, answer)
            async for records in source.records("successors", _span(successors))
            for record in records
            if (answer := successors.pop(record.offset, None)) is not None
        ]
        comparison = Comparison(
            Side(candidate, job.number, world),
            None if against is None else Side(against, job.number, world),
            asked.from_ms,
            asked.examples_max,
            asked.workflow,
        )
        batches = Batches(answers["decisions"], events)
        async for records in source.records("decisions", _span(answers["decisions"])):
            for batch in batches.take(records):
                comparison.take(batch)
        for batch in batches.finish():
            comparison.take(batch)
    tally = comparison.finish()
    tally.left_out = left_out
    if missing := batches.missing + len(successors):
        tally.guessed[GUESSED_MISSING] = missing
    return tally


async def _answers(
    source: _Source, job: Job, workflows: set[str]
) -> tuple[dict[str, dict[int, Answer]], dict[str, int]]:
    """The answers by input and offset, and how many there are of workflows that nobody asks about."""
    asked, reader = job.asked, Answers()
    found: dict[str, dict[int, Answer]] = {kind: {} for kind in INPUTS}
    by_topic = {asked.prefix + kind: found[kind] for kind in INPUTS}
    left_out: Counter[str] = Counter()
    for topic, span in job.spans.items():
        kind = topic.removeprefix(asked.prefix)
        async for records in source.records(kind, span):
            for record in records:
                answer = reader.read(kind, record.value, record.offset)
                if answer is None or not job.warm_ms <= answer.gated_at_ms < asked.to_ms:
                    continue
                workflow = answer.shape.workflow
                if workflow is not None and workflow not in workflows:
                    left_out[workflow] += answer.gated_at_ms >= asked.from_ms
                elif answer.source.topic in by_topic:
                    by_topic[answer.source.topic][answer.source.offset] = answer
    return found, dict(left_out)


async def _contexts(source: _Source, job: Job) -> list[Told]:
    if job.contexts_to is None:
        return []
    return [
        Told(record.timestamp, record.key, record.value)
        async for records in source.records("context", (0, job.contexts_to))
        for record in records
        if record.timestamp < job.asked.to_ms
    ]


def _span(answers: dict[int, Answer]) -> tuple[int, int]:
    return (min(answers), max(answers) + 1) if answers else (0, 0)


@dataclass
class _Source:
    """One partition number of the topics, read one topic after another."""

    client: Any
    reach: Reach
    prefix: str
    number: int
    passed: Callable[[int], None]

    async def records(self, kind: str, span: tuple[int, int]) -> AsyncIterator[Sequence[Any]]:
        place: Place = (self.prefix + kind, self.number)
        if span[0] < span[1]:
            async for records in read(self.client, self.reach, {place: span[0]}, {place: span[1]}, self.passed):
                yield records
