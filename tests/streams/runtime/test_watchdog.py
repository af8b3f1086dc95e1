"""The watchdog on fakes: what is waiting, what is stuck. Ticks are its only clock, so no test waits for one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiokafka import TopicPartition

from streams.errors import PromiseBroken
from streams.runtime.lanes import Lanes
from streams.runtime.lookup import Lookup
from streams.runtime.settings import JOIN_S, STUCK_S, Kafka, Role, Worker
from streams.runtime.transactions import Failed
from streams.runtime.watchdog import Watchdog
from streams.truths import Apart, Identity, TopicIdentity
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS, EchoStage, World

LONG = 10_000


@dataclass
class FakeLane:
    """Only what the watchdog looks at."""

    number: int = 0
    partitions: tuple[TopicPartition, ...] = (DECISIONS, SUCCESSORS)
    waits_for: str | None = None
    busy: bool = False
    takes_records: bool = True
    progress: int = 0
    identity: Identity | None = None
    doubts: list[Apart] = field(default_factory=list)
    positions: dict[TopicPartition, int] = field(default_factory=dict)

    def position(self, partition: TopicPartition) -> int | None:
        return self.positions.get(partition)

    def doubt(self, why: Apart) -> None:
        self.doubts.append(why)


class FakeLanes:
    """Lanes that are assigned."""

    def __init__(self, *lanes: FakeLane) -> None:
        self.lanes = lanes
        self.assigned = True
        role = Role("gate", "g", ("decisions", "successors"), lambda number: EchoStage(World()))
        self.worker = Worker(Kafka("b:1", "t."), role, 1)

    def __iter__(self) -> Iterator[FakeLane]:
        return iter(self.lanes)


class FakeLookup:
    """A broker that answers, or does not; with records to read, or without."""

    def __init__(self) -> None:
        self.answers = True
        self.ids = {"t.decisions": "d1", "t.successors": "s1"}
        self.end = 0
        self.records = False
        self.asked: list[tuple[TopicPartition, int]] = []

    async def ends(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if not self.answers:
            raise Failed("no answer")
        return dict.fromkeys(partitions, self.end)

    async def identities(self, topics: list[str]) -> tuple[str, dict[str, TopicIdentity]]:
        return "c", {topic: TopicIdentity(self.ids[topic], 1) for topic in topics}

    async def readable(self, partition: TopicPartition, offset: int) -> bool:
        self.asked.append((partition, offset))
        if not self.answers:
            raise Failed("no answer")
        return self.records


def watchdog(*lanes: FakeLane) -> tuple[Watchdog, FakeLookup]:
    lookup = FakeLookup()
    return Watchdog(cast(Lanes, FakeLanes(*lanes)), cast(Lookup, lookup)), lookup


async def ticks(dog: Watchdog, count: int) -> None:
    for _ in range(count):
        await dog.ask()
        dog.check()
        await dog.confirm()


async def test_waiting_for_a_dependency_that_does_not_answer_is_never_stuck() -> None:
    dog, lookup = watchdog(FakeLane(waits_for="the broker", busy=True))
    lookup.answers = False
    await ticks(dog, LONG)


async def test_waiting_for_one_that_answers_ends_it() -> None:
    lane = FakeLane(waits_for="the broker at b:1", busy=True)
    dog, lookup = watchdog(lane)
    lookup.answers = False
    await ticks(dog, LONG)
    lookup.answers = True
    await ticks(dog, 2 * STUCK_S)
    with pytest.raises(PromiseBroken, match=r"partition 0 is stuck: it waits for the broker at b:1, which answers"):
        await ticks(dog, 1)


async def test_busy_without_progress_ends_it_and_progress_does_not() -> None:
    lane = FakeLane(busy=True)
    dog, _ = watchdog(FakeLane(number=1, partitions=()), lane)
    for _ in range(LONG // STUCK_S):
        await ticks(dog, STUCK_S)
        lane.progress += 1
    await ticks(dog, STUCK_S)
    with pytest.raises(PromiseBroken, match=r"partition 0 is stuck: it has work and does none"):
        await ticks(dog, 1)


async def test_an_idle_lane_is_not_stuck() -> None:
    dog, lookup = watchdog(FakeLane(positions={DECISIONS: 7, SUCCESSORS: 7}))
    lookup.end = 7
    await ticks(dog, LONG)


async def test_records_that_wait_and_are_not_fetched_end_it() -> None:
    dog, lookup = watchdog(FakeLane(positions={DECISIONS: 6, SUCCESSORS: 7}))
    lookup.end, lookup.records = 7, True
    await ticks(dog, 2 * STUCK_S)
    with pytest.raises(PromiseBroken, match=r"records wait in t.decisions at offset 6 and are not fetched"):
        await ticks(dog, 1)


async def test_markers_and_aborted_records_at_the_end_are_not_records_that_wait() -> None:
    """The end of a partition that was written in transactions is past the last record for ever."""
    dog, lookup = watchdog(FakeLane(positions={DECISIONS: 5, SUCCESSORS: 7}))
    lookup.end = 7
    await ticks(dog, 10 * STUCK_S)
    assert set(lookup.asked) == {(DECISIONS, 5)}
    assert len(lookup.asked) < 6, "a look every minute is enough"
    lookup.records = True
    with pytest.raises(PromiseBroken):
        await ticks(dog, 3 * STUCK_S)


async def test_a_full_lane_has_not_to_be_fetched() -> None:
    lane = FakeLane(positions={DECISIONS: 5}, takes_records=False)
    dog, lookup = watchdog(lane)
    lookup.end, lookup.records = 7, True
    await ticks(dog, LONG)
    assert lookup.asked == []


async def test_while_the_broker_is_silent_nobody_can_fetch() -> None:
    dog, lookup = watchdog(FakeLane(positions={DECISIONS: 5}))
    lookup.end, lookup.records = 7, True
    await ticks(dog, 1)
    lookup.answers = False
    await ticks(dog, LONG)


async def test_a_group_that_gives_nothing_while_the_broker_answers_ends_it() -> None:
    dog, lookup = watchdog()
    cast(FakeLanes, dog.lanes).assigned = False
    lookup.answers = False
    await ticks(dog, LONG)
    lookup.answers = True
    await ticks(dog, JOIN_S)
    with pytest.raises(PromiseBroken, match="the group g gave nothing in 90 s"):
        await ticks(dog, 1)


async def test_a_group_that_gives_no_partition_has_answered() -> None:
    dog, _ = watchdog()
    await ticks(dog, LONG)


BLOCKED = """
import asyncio, time
from streams.runtime import watchdog
from streams.runtime.process import die
watchdog.TICK_S, watchdog.STUCK_S = 0.02, 10

async def main():
    watchdog.watch_loop(asyncio.get_running_loop(), die)
    await asyncio.sleep(0.5)
    print("it ran", flush=True)
    time.sleep(60)

asyncio.run(main())
"""


def test_a_blocked_event_loop_ends_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (4, "it ran\n")
    assert done.stderr == "sluicegate: the event loop has been blocked for 10 s\n"


async def test_a_topic_that_is_made_again_under_a_lane_stops_it() -> None:
    """The consumer would read on at the same offset of the new topic, or from its beginning."""
    was = {"decisions": TopicIdentity("d1", 1), "successors": TopicIdentity("s1", 1)}
    lane = FakeLane(identity=Identity("c", "g", was))
    dog, lookup = watchdog(lane)
    await dog.ask()
    assert not lane.doubts
    lookup.ids["t.decisions"] = "d2"
    await dog.ask()
    assert [str(one).partition(":")[0] for one in lane.doubts] == ["the topic t.decisions was made again"]
