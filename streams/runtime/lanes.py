"""The lanes of a worker: one for each partition number that the group gave it, made and ended with the assignment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator

import structlog
from aiokafka import TopicPartition

from streams.errors import PromiseBroken
from streams.runtime.delivered import Delivered
from streams.runtime.hand_over import Seeker
from streams.runtime.lane import Lane
from streams.runtime.lookup import Lookup
from streams.runtime.metrics import Meter
from streams.runtime.settings import RELEASE_S, Worker
from streams.runtime.tasks import failure
from streams.truths import Apart

log = structlog.get_logger()

SETTLE_S = 5.0  # a transaction usually takes some milliseconds


class Lanes:
    """What the consumer tells about the assignment ends here; what it fetches goes through here to its lane."""

    def __init__(
        self,
        worker: Worker,
        lookup: Lookup,
        clock_ms: Callable[[], int],
        die: Callable[[BaseException], None],
        meter: Meter | None = None,
        doubtful: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.worker = worker
        self.changed = asyncio.Event()  # a lane began to take records
        self.assigned = False  # whether the group has answered; also with nothing
        self._began = False  # whether it ever has
        self._lookup = lookup
        self._clock_ms, self._doubtful = clock_ms, doubtful
        self._die = die
        self._meter = meter
        self._lanes: dict[int, Lane] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def take(self, partitions: Iterable[TopicPartition], seeker: Seeker) -> None:
        """Starts a lane for each number, or ends the process when a number came without all of its inputs.

        It is called by aiokafka, which would log an exception and go on.
        """
        numbers: dict[int, set[str]] = {}
        for partition in partitions:
            numbers.setdefault(partition.partition, set()).add(partition.topic)
        inputs = {self.worker.kafka.topic(name) for name in self.worker.role.inputs}
        for number, topics in sorted(numbers.items()):
            if topics != inputs:
                self._die(
                    PromiseBroken(
                        f"the group split partition number {number}: this worker got {sorted(topics)} of "
                        f"{sorted(inputs)}. All members must run this version and read the same topics"
                    )
                )
                return
        for number in sorted(numbers):
            lane = Lane(
                number, self.worker, self._lookup, seeker, self._clock_ms, self.changed, self._meter, self._doubtful
            )
            task = asyncio.create_task(lane.run(), name=f"lane-{number}")
            task.add_done_callback(self._ended)
            self._lanes[number], self._tasks[number] = lane, task
        self.assigned = True
        # the first assignment belongs to the start; after it, the group's changes are news
        (log.info if self._began else log.debug)("assigned", partitions=sorted(numbers))
        self._began = True

    def _ended(self, task: asyncio.Task[None]) -> None:
        if (error := failure(task)) is not None:
            self._die(error)

    async def release(self) -> None:
        """Ends all lanes: each may finish the transaction it is in, within `RELEASE_S`; then it is left as it is."""
        tasks, numbers = list(self._tasks.values()), list(self._lanes)
        for lane in self._lanes.values():
            lane.finish()
        self.assigned = False
        self._lanes.clear()
        self._tasks.clear()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=RELEASE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for number in numbers:
            self.worker.role.released(number)

    async def settled(self) -> None:
        """Returns when what is decided now is committed, or is not going to be; within `SETTLE_S`."""
        deciding = {lane: lane.progress for lane in self if lane.deciding}
        until_s = time.monotonic() + SETTLE_S
        while any(lane.deciding and lane.progress == before for lane, before in deciding.items()):
            if time.monotonic() > until_s:
                return
            await asyncio.sleep(0.002)

    def doubt(self, number: int, why: Apart) -> None:
        """Stops the lane of a partition number, if there is one."""
        if (lane := self._lanes.get(number)) is not None:
            lane.doubt(why)

    def wanted(self) -> set[TopicPartition]:
        """The partitions to fetch from now."""
        return {partition for lane in self._lanes.values() if lane.takes_records for partition in lane.partitions}

    def all_wanted(self) -> bool:
        return all(lane.takes_records for lane in self._lanes.values())

    def offer(self, delivered: Delivered) -> None:
        """Hands a fetched batch to its lane; without one it belongs to somebody else by now."""
        lane = self._lanes.get(delivered.fetched.partition)
        if lane is not None:
            lane.offer(delivered)
