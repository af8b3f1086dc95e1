"""Reads a recording from Kafka: the answers of a range of time, then the inputs that they name, then what followed.

The range is that of the deciding, not of the sending: so every decision in it has its answer. No group is joined and
nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.audit.inputs import LOG_APPEND_TIME, Place
from agents.budget.recording import DECISIONS_MAX, Input, Recording
from agents.recorded.topics import ANSWERS, INPUTS, Progress, Topics, opened, told
from streams.errors import ConfigurationError

FOLLOWED = ("receipts", "outcomes")


@dataclass(frozen=True)
class Scope:
    """Which workflow, and when it was decided: from `from_ms` until before `to_ms`, epoch milliseconds."""

    bootstrap: str
    prefix: str
    workflow: str
    from_ms: int
    to_ms: int


async def recorded(scope: Scope, progress: Progress) -> Recording:
    """The recording. `progress` hears what is read, how many offsets are passed, and of how many.

    Raises ConfigurationError where there is nothing to replay, with what there is; BrokerUnreachable.
    """
    if scope.from_ms >= scope.to_ms:
        raise ConfigurationError(
            f"the range is empty: --from {told(scope.from_ms)} is not before --to {told(scope.to_ms)}"
        )
    found = Recording(scope.workflow, scope.from_ms, scope.to_ms)
    async with opened(scope.bootstrap, scope.prefix, (*ANSWERS, *INPUTS, *FOLLOWED)) as topics:
        await _answers(topics, scope, found, progress)
        await _inputs(topics, scope, found, progress)
        await _followed(topics, scope, found, progress)
    return found


async def _answers(topics: Topics, scope: Scope, found: Recording, progress: Progress) -> None:
    places = topics.places(ANSWERS)
    ends = await topics.ends(places)
    starts = await topics.at(scope.from_ms, places, ends)
    until = await topics.at(scope.to_ms, places, ends)
    oldest = [time_ms for _, time_ms in (await topics.at(0, places, ends)).values() if time_ms >= 0]
    found.oldest_ms = min(oldest, default=None)
    bounds = {place: min(end, until[place][0]) for place, end in ends.items()}
    async for kind, record in topics.records(
        "reading answers", {place: start for place, (start, _) in starts.items()}, bounds, progress
    ):
        found.add_answer(kind, record.value)
        if len(found.answers) > DECISIONS_MAX:
            raise ConfigurationError(
                f"the range holds more than {DECISIONS_MAX:,} decisions of {scope.workflow!r}: choose a shorter one"
            )
    if not found.answers:
        raise ConfigurationError(_nothing(scope, found))


async def _inputs(topics: Topics, scope: Scope, found: Recording, progress: Progress) -> None:
    places = topics.places(INPUTS)
    first = await topics.starts(places)
    starts: dict[Place, int] = {}
    ends: dict[Place, int] = {}
    for topic, partition, offset in found.answers:
        place = (topic, partition)
        if place in first and offset >= first[place]:
            starts[place] = min(offset, starts.get(place, offset))
            ends[place] = max(offset + 1, ends.get(place, 0))
    async for _, record in topics.records("reading decisions", starts, ends, progress):
        source = (record.topic, record.partition, record.offset)
        if source in found.answers:
            broker_time = record.timestamp_type == LOG_APPEND_TIME
            found.inputs.append(
                Input(source, record.timestamp, broker_time, record.key, record.value, tuple(record.headers))
            )
    found.gone = len(found.answers) - len(found.inputs)
    if not found.inputs:
        raise ConfigurationError(
            f"the decisions of {scope.workflow!r} between {told(scope.from_ms)} and {told(scope.to_ms)} are older than "
            f"the retention of {scope.prefix}decisions: their answers are left, they are not; choose a later --from"
        )


async def _followed(topics: Topics, scope: Scope, found: Recording, progress: Progress) -> None:
    places = topics.places(FOLLOWED)
    ends = await topics.ends(places)
    starts = {place: start for place, (start, _) in (await topics.at(scope.from_ms, places, ends)).items()}
    async for kind, record in topics.records("reading receipts and outcomes", starts, ends, progress):
        if kind == "receipts":
            found.add_receipt(record.value)
        else:
            found.add_outcome(record.value)


def _nothing(scope: Scope, found: Recording) -> str:
    what = f"nothing of the workflow {scope.workflow!r} was decided between {told(scope.from_ms)} and"
    what += f" {told(scope.to_ms)}"
    if found.others:
        return f"{what}; there was {', '.join(sorted(found.others)[:10])}: is it one of these?"
    if found.oldest_ms is None:
        return f"{what}, and there is no answer at all in the topics {scope.prefix}*: has a gate run there?"
    if scope.to_ms <= found.oldest_ms:
        return f"{what}: that is older than retention, the oldest record that is kept is of {told(found.oldest_ms)}"
    return f"{what}; the oldest record that is kept is of {told(found.oldest_ms)}: choose another --from or --to"
