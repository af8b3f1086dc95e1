"""Reads a recording from Kafka: the answers of a range of time, then the inputs that they name, then what followed.

The range is that of the deciding, not of the sending: so every decision in it has its answer. No group is joined and
nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import TopicPartition

from agents.audit.inputs import LOG_APPEND_TIME, Place
from agents.audit.read import Reach, admin, consumer, offsets, partition_counts, read, within
from agents.budget.recording import DECISIONS_MAX, Input, Recording
from streams.errors import ConfigurationError

Progress = Callable[[str, int, int], None]
ANSWERS = ("commands", "reviews", "exceptions", "reevaluations")
INPUTS = ("decisions", "successors")
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
    reach = Reach(scope.bootstrap)
    found = Recording(scope.workflow, scope.from_ms, scope.to_ms)
    async with admin(reach) as asker, consumer(reach, "read_committed") as client:
        kinds = {scope.prefix + kind: kind for kind in (*ANSWERS, *INPUTS, *FOLLOWED)}
        counts = await partition_counts(asker, reach, list(kinds))
        if scope.prefix + "commands" not in counts:
            raise ConfigurationError(
                f"there is no topic {scope.prefix}commands at {scope.bootstrap}: name the right prefix with --prefix, "
                "or create the topics with `sluicegate topics apply`"
            )
        topics = _Topics(client, reach, kinds, counts, progress)
        await _answers(topics, scope, found)
        await _inputs(topics, scope, found)
        await _followed(topics, scope, found)
    return found


@dataclass(frozen=True)
class _Topics:
    client: Any
    reach: Reach
    kinds: dict[str, str]
    counts: dict[str, int]
    progress: Progress

    def places(self, wanted: tuple[str, ...]) -> list[Place]:
        return [
            (topic, number)
            for topic, kind in self.kinds.items()
            if kind in wanted
            for number in range(self.counts.get(topic, 0))
        ]

    async def at(self, time_ms: int, places: list[Place], ends: dict[Place, int]) -> dict[Place, tuple[int, int]]:
        """The first offset at or after the time and that record's time; the end, where there is none (time -1)."""
        if not places:
            return {}
        asked = {TopicPartition(*place): time_ms for place in places}
        found = await within(self.reach.bootstrap, self.client.offsets_for_times(asked))
        return {
            (at.topic, at.partition): (ends[at.topic, at.partition], -1)
            if there is None
            else (there.offset, there.timestamp)
            for at, there in found.items()
        }

    async def ends(self, places: list[Place]) -> dict[Place, int]:
        return await offsets(self.client, self.reach, "end", places)

    async def records(self, what: str, starts: dict[Place, int], ends: dict[Place, int]) -> Any:
        total = sum(max(0, ends[place] - start) for place, start in starts.items())
        done = 0

        def passed(count: int) -> None:
            nonlocal done
            done += count
            self.progress(what, done, total)

        passed(0)
        async for batch in read(self.client, self.reach, starts, ends, passed):
            for record in batch:
                yield self.kinds[record.topic], record


async def _answers(topics: _Topics, scope: Scope, found: Recording) -> None:
    places = topics.places(ANSWERS)
    ends = await topics.ends(places)
    starts = await topics.at(scope.from_ms, places, ends)
    until = await topics.at(scope.to_ms, places, ends)
    oldest = [time_ms for _, time_ms in (await topics.at(0, places, ends)).values() if time_ms >= 0]
    found.oldest_ms = min(oldest, default=None)
    bounds = {place: min(end, until[place][0]) for place, end in ends.items()}
    async for kind, record in topics.records(
        "reading answers", {place: start for place, (start, _) in starts.items()}, bounds
    ):
        found.add_answer(kind, record.value)
        if len(found.answers) > DECISIONS_MAX:
            raise ConfigurationError(
                f"the range holds more than {DECISIONS_MAX:,} decisions of {scope.workflow!r}: choose a shorter one"
            )
    if not found.answers:
        raise ConfigurationError(_nothing(scope, found))


async def _inputs(topics: _Topics, scope: Scope, found: Recording) -> None:
    places = topics.places(INPUTS)
    first = await offsets(topics.client, topics.reach, "start", places)
    starts: dict[Place, int] = {}
    ends: dict[Place, int] = {}
    for topic, partition, offset in found.answers:
        place = (topic, partition)
        if place in first and offset >= first[place]:
            starts[place] = min(offset, starts.get(place, offset))
            ends[place] = max(offset + 1, ends.get(place, 0))
    async for _, record in topics.records("reading decisions", starts, ends):
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


async def _followed(topics: _Topics, scope: Scope, found: Recording) -> None:
    places = topics.places(FOLLOWED)
    ends = await topics.ends(places)
    starts = {place: start for place, (start, _) in (await topics.at(scope.from_ms, places, ends)).items()}
    async for kind, record in topics.records("reading receipts and outcomes", starts, ends):
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


def told(time_ms: int) -> str:
    """A time as people and RFC 3339 write it."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
