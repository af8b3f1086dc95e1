"""The watchdog: tells a worker that waits for a named dependency from one that is stuck, and ends the latter.

Three ways to be stuck, each counted in the watchdog's own ticks, so that a machine that slept is not blamed on us:

- the event loop does not run (looked at from a thread);
- a lane has something to do and does nothing, or the broker answers and its transactions fail all the same;
- records wait in the broker and are not fetched, or the group gives no answer at all.

A dependency that is waited for is asked here, on connections of its own: if it does not answer, waiting is right.
What stands before the end of a partition need not be records for us: the markers of transactions are there for good,
and what is aborted or not committed yet. So before a lane is called stuck for not fetching, the records are looked for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from aiokafka import TopicPartition

from streams.errors import PromiseBroken
from streams.runtime.lane import Lane
from streams.runtime.lanes import Lanes
from streams.runtime.lookup import Lookup
from streams.runtime.settings import JOIN_S, STUCK_S
from streams.runtime.transactions import Failed
from streams.truths import Apart, Identity, Place, must_be_same

log = structlog.get_logger()

TICK_S = 1.0
ASK_EVERY = 5  # ticks between two questions to the broker


@dataclass(slots=True)
class _Seen:
    """What a lane looked like, and for how many ticks it has."""

    mark: object = None
    ticks: int = 0

    def look(self, mark: object) -> int:
        self.ticks = self.ticks + 1 if mark == self.mark else 0
        self.mark = mark
        return self.ticks


@dataclass(slots=True)
class Watchdog:
    """`check` is called once a tick; it raises PromiseBroken when the process has to end."""

    lanes: Lanes
    lookup: Lookup
    answers: bool = True  # whether the broker answered when it was last asked
    ends: dict[TopicPartition, int] = field(default_factory=dict)  # what it answered then
    _busy: dict[int, _Seen] = field(default_factory=dict)
    _fetch: dict[int, _Seen] = field(default_factory=dict)
    _joined: _Seen = field(default_factory=_Seen)
    _suspects: list[tuple[Lane, TopicPartition, int]] = field(default_factory=list)  # the int is the lane's position

    async def run(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(TICK_S)
            tick += 1
            if tick % ASK_EVERY == 0:
                await self.ask()
            self.check()
            await self.confirm()

    async def ask(self) -> None:
        """Asks the broker for the ends, and whether the topics are still the same; whether it answers is news too."""
        partitions = [partition for lane in self.lanes for partition in lane.partitions]
        first = TopicPartition(self.lanes.worker.kafka.topic(self.lanes.worker.role.inputs[0]), 0)
        try:
            self.ends = await self.lookup.ends(partitions or [first])
            await self._same_topics()
        except Failed as error:
            if self.answers:
                log.warning("waiting", waits_for=f"the broker at {self.lanes.worker.kafka.bootstrap}", why=str(error))
            self.answers = False
        else:
            if not self.answers:
                log.info("the broker answers again")
            self.answers = True

    async def _same_topics(self) -> None:
        """A topic that is made again, or gets more partitions, under a lane's hands stops it. Raises Failed."""
        worker, role = self.lanes.worker, self.lanes.worker.role
        opened = [lane for lane in self.lanes if lane.identity is not None]
        if not opened:
            return
        cluster, found = await self.lookup.identities([worker.kafka.topic(name) for name in role.inputs])
        now = Identity(cluster, role.group, {name: found[worker.kafka.topic(name)] for name in role.inputs})
        for lane in opened:
            try:
                must_be_same(now, lane.identity, Place(role.name, role.group, worker.kafka.prefix, "", lane.number))
            except Apart as error:
                lane.doubt(error)

    def check(self) -> None:
        lanes = {lane.number: lane for lane in self.lanes}
        for seen in (self._busy, self._fetch):
            for number in seen.keys() - lanes.keys():
                del seen[number]
        joined_ticks = self._joined.look((self.lanes.assigned, self.answers and not self.lanes.assigned))
        if not self.lanes.assigned and self.answers and joined_ticks >= JOIN_S:
            raise PromiseBroken(
                f"the broker answers, but the group {self.lanes.worker.role.group} gave nothing in {JOIN_S} s"
            )
        for lane in lanes.values():
            self._check_lane(lane)

    def _check_lane(self, lane: Lane) -> None:
        waits = lane.waits_for is not None and not self.answers
        busy_ticks = self._busy.setdefault(lane.number, _Seen()).look((lane.progress, lane.busy, waits))
        if lane.busy and not waits and busy_ticks >= (2 * STUCK_S if lane.waits_for else STUCK_S):
            what = f"waits for {lane.waits_for}, which answers" if lane.waits_for else "has work and does none"
            raise PromiseBroken(f"partition {lane.number} is stuck: it {what}, for {busy_ticks} s")
        behind = [
            (partition, position)
            for partition in lane.partitions
            if (position := lane.position(partition)) is not None and self.ends.get(partition, 0) > position
        ]
        mark = (lane.progress, self.answers, *behind)
        fetch_ticks = self._fetch.setdefault(lane.number, _Seen()).look(mark)
        if behind and self.answers and lane.takes_records and fetch_ticks >= 2 * STUCK_S:
            del self._fetch[lane.number]  # counted anew, should it be cleared
            self._suspects += [(lane, partition, position) for partition, position in behind]

    async def confirm(self) -> None:
        """Looks for the records that `check` suspects to wait. Raises PromiseBroken when there is one."""
        suspects, self._suspects = self._suspects, []
        for lane, partition, position in suspects:
            try:
                waits = await self.lookup.readable(partition, position)
            except Failed:
                continue
            if waits and lane.takes_records and lane.position(partition) == position:
                raise PromiseBroken(
                    f"partition {lane.number} is stuck: records wait in {partition.topic} at offset {position} and are "
                    "not fetched"
                )


def watch_loop(loop: asyncio.AbstractEventLoop, die: Callable[[BaseException], None]) -> None:
    """Starts a thread that ends the process when the event loop has not run for `STUCK_S` ticks."""
    ran = threading.Event()

    def watch() -> None:
        silent = 0
        while silent < STUCK_S:
            if loop.is_closed():
                return
            ran.clear()
            try:
                loop.call_soon_threadsafe(ran.set)
            except RuntimeError:
                return  # it was closed just now
            time.sleep(TICK_S)
            silent = 0 if ran.is_set() else silent + 1
        die(PromiseBroken(f"the event loop has been blocked for {STUCK_S} s"))

    threading.Thread(target=watch, name="watchdog", daemon=True).start()
