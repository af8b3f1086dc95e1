"""The topics of a gate, read without a group: which are there, what stands at a time, and the records in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiokafka import TopicPartition

from agents.audit.inputs import Place
from agents.audit.read import Reach, admin, consumer, offsets, partition_counts, read, within
from schemas.common import TIME_MS_MAX
from streams.errors import ConfigurationError

Progress = Callable[[str, int, int], None]
ANSWERS = ("commands", "reviews", "exceptions", "reevaluations")
INPUTS = ("decisions", "successors")


@dataclass(frozen=True)
class Topics:
    """The topics that exist of those asked for. `kinds`: their names without the prefix; `counts`: their partitions."""

    client: Any
    reach: Reach
    kinds: dict[str, str]
    counts: dict[str, int]

    def places(self, wanted: Iterable[str]) -> list[Place]:
        """Every partition of the topics of these kinds."""
        chosen = set(wanted)
        return [
            (topic, number)
            for topic, kind in self.kinds.items()
            if kind in chosen
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

    async def starts(self, places: list[Place]) -> dict[Place, int]:
        """The first offset that is still there."""
        return await offsets(self.client, self.reach, "start", places)

    async def ends(self, places: list[Place]) -> dict[Place, int]:
        """The next offset of each, up to the last stable one."""
        return await offsets(self.client, self.reach, "end", places)

    async def records(
        self, what: str, starts: dict[Place, int], ends: dict[Place, int], progress: Progress
    ) -> AsyncIterator[tuple[str, Any]]:
        """The records in between, each with the kind of its topic; each partition in order."""
        total = sum(max(0, ends[place] - start) for place, start in starts.items())
        done = 0

        def passed(count: int) -> None:
            nonlocal done
            done += count
            progress(what, done, total)

        passed(0)
        async for batch in read(self.client, self.reach, starts, ends, passed):
            for record in batch:
                yield self.kinds[record.topic], record


@asynccontextmanager
async def opened(bootstrap: str, prefix: str, kinds: Iterable[str]) -> AsyncIterator[Topics]:
    """The topics of these kinds, which must hold `commands`. Raises ConfigurationError where they are not there, and
    BrokerUnreachable.
    """
    reach, named = Reach(bootstrap), {prefix + kind: kind for kind in kinds}
    async with admin(reach) as asker, consumer(reach, "read_committed") as client:
        counts = await partition_counts(asker, reach, list(named))
        if prefix + "commands" not in counts:
            raise ConfigurationError(
                f"there is no topic {prefix}commands at {bootstrap}: name the right prefix with --prefix, "
                "or create the topics with `sluicegate topics apply`"
            )
        yield Topics(client, reach, named, counts)


def told(time_ms: int) -> str:
    """A time as people and RFC 3339 write it."""
    return (
        datetime.fromtimestamp(min(max(time_ms, 0), TIME_MS_MAX) // 1000, UTC)
        .isoformat(timespec="seconds")
        .replace("+00:00", "Z")
    )
