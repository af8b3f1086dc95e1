"""A tail: partitions that are read from some place to their end, and on from there for as long as they are wanted.

One consumer without a group, read_committed. It remembers how far each partition was read, so a consumer that failed is
replaced by another that reads on; aiokafka reconnects by itself, and what it does not notice (records wait, and none
comes) is noticed here. Ends are last stable offsets: what is readable now, whoever holds a transaction open.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from streams.errors import PromiseBroken
from streams.runtime.lookup import reader
from streams.runtime.settings import REQUEST_S, RETRY_S, Kafka
from streams.runtime.tasks import closed
from streams.runtime.transactions import Failed

log = structlog.get_logger()

FETCH_MS = 50  # how long a read waits when nothing comes: so late a new partition or a new question is noticed
CHUNK_RECORDS_MAX = 500  # between two of them others run: some 3 ms
LOOK_S = 5.0  # between two questions whether records wait and do not come
IDLE_S = 20.0  # on the way to an end nothing has come for so long
_ERRORS = (KafkaError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Recent:
    """Read only what is younger than `window_ms`, and of that only the last `records_max` offsets."""

    window_ms: int
    records_max: int


@dataclass(slots=True)
class _Goal:
    at_end: Callable[[int], None]
    end: int | None = None  # asked for when None
    reached: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Place:
    recent: Recent | None  # None: from the beginning
    position: int | None = None
    goals: list[_Goal] = field(default_factory=list)
    behind: tuple[int, int] | None = None  # position and end when it was last looked at


class Tail:
    """`take` gets the records of one partition in order, a chunk at a time; it must not raise. With `telling` it gets
    what cannot be read as `Unreadable` among them.

    All methods belong to one event loop; `run` is its task.
    """

    def __init__(
        self,
        kafka: Kafka,
        take: Callable[[TopicPartition, Sequence[Any]], None],
        clock_ms: Callable[[], int],
        telling: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._kafka = kafka
        self._telling = telling
        self._take = take
        self._clock_ms = clock_ms
        self._places: dict[TopicPartition, _Place] = {}
        self._wanted = asyncio.Event()
        self._changed = asyncio.Event()  # the consumer has other partitions than we want
        self._waiting = False
        self._looked_s = 0.0

    @property
    def unanswered_s(self) -> float:
        """How long ago the broker last said where the partitions end; 0 before it has said so for the first time."""
        return time.monotonic() - self._looked_s if self._looked_s else 0.0

    def add(self, partition: TopicPartition, recent: Recent | None = None) -> None:
        """Begins to read a partition; nothing if it is being read."""
        if partition not in self._places:
            self._places[partition] = _Place(recent)
            self._changed.set()
            self._wanted.set()

    def drop(self, partition: TopicPartition) -> None:
        """Reads it no longer, and forgets how far it was read."""
        if self._places.pop(partition, None) is not None:
            self._changed.set()
            if not self._places:
                self._wanted.clear()

    async def reach(
        self, partition: TopicPartition, progress: Callable[[], None], at_end: Callable[[int], None]
    ) -> None:
        """Returns when the partition was read to the end as it is now; `at_end` hears that end before it is read past.

        `progress` is called at least once a second while records come, here or where another end is waited for: they
        share a consumer. Raises Failed when for 20 s nothing has.
        """
        place = self._places[partition]
        goal = _Goal(at_end)
        place.goals.append(goal)
        moved_s, mark = time.monotonic(), self._positions()
        try:
            while not goal.reached.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(goal.reached.wait(), 0.5)
                if (now := self._positions()) != mark:
                    moved_s, mark = time.monotonic(), now
                    progress()
                elif time.monotonic() - moved_s > IDLE_S:
                    raise Failed(f"{partition.topic}/{partition.partition} brings nothing past offset {place.position}")
        finally:
            with contextlib.suppress(ValueError):
                place.goals.remove(goal)

    def _positions(self) -> list[int | None]:
        return [place.position for place in self._places.values() if place.goals]

    # the task

    async def run(self) -> None:
        """Reads until cancelled. Raises PromiseBroken when a topic was made again or lost its end."""
        while True:
            await self._wanted.wait()
            consumer = reader(self._kafka, "none", telling=self._telling)
            # a task of its own: a connection that breaks makes aiokafka cancel what waits for it, and not us
            reading = asyncio.create_task(self._read_with(consumer))
            try:
                await asyncio.wait({reading})
                if reading.cancelled():
                    raise Failed("the connection broke")
                reading.result()
            except OffsetOutOfRangeError as error:
                raise PromiseBroken(
                    f"a topic does not have the offsets any more that were read last: it was made again, or the broker "
                    f"lost records ({error}). A new start reads it from its beginning"
                ) from error
            except (*_ERRORS, Failed) as error:
                if not self._waiting:
                    why = str(error) or type(error).__name__
                    log.warning("waiting", waits_for=f"the broker at {self._kafka.bootstrap}", why=why)
                self._waiting = True
                await asyncio.sleep(RETRY_S)
            finally:
                reading.cancel()
                await closed(consumer.stop(), 2.0)

    async def _read_with(self, consumer: AIOKafkaConsumer) -> None:
        await asyncio.wait_for(consumer.start(), REQUEST_S)
        self._changed.set()
        await self._read(consumer)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        while self._places:
            if self._changed.is_set():
                await self._assign(consumer)
                continue  # somebody may have changed the wish meanwhile
            await self._ask(consumer)
            async with asyncio.timeout(REQUEST_S):
                chunk = await consumer.getmany(timeout_ms=FETCH_MS, max_records=CHUNK_RECORDS_MAX)
            if self._changed.is_set():
                continue  # a place may be another one now; the chunk is read again
            for partition, records in chunk.items():
                self._take(partition, records)
            for partition, place in list(self._places.items()):
                async with asyncio.timeout(REQUEST_S):
                    place.position = await consumer.position(partition)
                for goal in place.goals:
                    if goal.end is not None and place.position >= goal.end:
                        goal.reached.set()
            if self._waiting:
                self._waiting = False
                log.info("the broker answers again")
            await asyncio.sleep(0)

    async def _assign(self, consumer: AIOKafkaConsumer) -> None:
        self._changed.clear()
        new = {partition: place for partition, place in self._places.items() if place.position is None}
        starts = await self._starts(consumer, new)
        for partition, place in new.items():
            place.position = starts[partition]
        places = {partition: place.position for partition, place in self._places.items() if place.position is not None}
        if len(places) < len(self._places):
            self._changed.set()  # one more came while we asked
        if not places:
            return
        consumer.assign(list(places))
        for partition, position in places.items():
            consumer.seek(partition, position)

    async def _starts(
        self, consumer: AIOKafkaConsumer, places: Mapping[TopicPartition, _Place]
    ) -> dict[TopicPartition, int]:
        starts: dict[TopicPartition, int] = {}
        if whole := [partition for partition, place in places.items() if place.recent is None]:
            starts |= await asyncio.wait_for(consumer.beginning_offsets(whole), REQUEST_S)
        recent = {partition: place.recent for partition, place in places.items() if place.recent is not None}
        if recent:
            now_ms = self._clock_ms()
            since = {partition: max(now_ms - one.window_ms, 0) for partition, one in recent.items()}
            found = await asyncio.wait_for(consumer.offsets_for_times(since), REQUEST_S)
            ends = await self._ends(consumer, recent)
            for partition, one in recent.items():
                at = found.get(partition)
                starts[partition] = max(at.offset if at else ends[partition], ends[partition] - one.records_max)
        return starts

    async def _ask(self, consumer: AIOKafkaConsumer) -> None:
        """The ends, where somebody waits for them; and now and then of all, to see whether their records come."""
        asking = {partition for partition, place in self._places.items() if any(one.end is None for one in place.goals)}
        looking = time.monotonic() - self._looked_s >= LOOK_S
        if not asking and not looking:
            return
        goals = [
            (partition, goal) for partition in asking for goal in self._places[partition].goals if goal.end is None
        ]
        ends = await self._ends(consumer, list(self._places) if looking else asking)
        for partition, goal in goals:
            if goal.end is None:
                goal.end = ends[partition]
                goal.at_end(goal.end)
        if looking:
            self._looked_s = time.monotonic()
            self._look(ends)

    def _look(self, ends: Mapping[TopicPartition, int]) -> None:
        for partition, end in ends.items():
            place = self._places.get(partition)
            if place is None or place.position is None:
                continue
            before, place.behind = place.behind, None
            if place.position < end:
                place.behind = (place.position, end)
                if before is not None and before[0] == place.position:
                    place.behind = None
                    raise Failed(
                        f"{partition.topic}/{partition.partition} has records past {place.position}; none comes"
                    )

    async def _ends(
        self, consumer: AIOKafkaConsumer, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = await asyncio.wait_for(consumer.end_offsets(list(partitions)), REQUEST_S)
        return ends
