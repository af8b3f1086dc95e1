"""A lane with a stage that has timers: what is due is decided and committed though nothing came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from streams.batch import Fetched, Sent
from streams.runtime import lane as module
from streams.runtime import timers
from streams.runtime.lane import Lane
from streams.runtime.settings import Role
from streams.runtime.stage import Batch
from streams.runtime.transactions import Outgoing
from tests.streams.runtime.fakes import EchoStage, World, delivered, until


class TimedStage(EchoStage):
    """Due once at `world.due_ms`: then it ends something, and takes its slot away."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.world = world
        self.says_something = True

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        if self.world.due_ms is None or now_ms < self.world.due_ms:
            return super().decide(fetched, now_ms, commit_ms)
        self.world.did("timer", [value for batch in fetched for value in batch.values])
        self.world.due_ms = None
        if not self.says_something:
            return Batch([], {}, None)
        return Batch([Sent("exceptions", b"k", b"expired")], {"open/r": None}, None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Transactions", made.transactions)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(timers, "LOOK_S", 0.0)
    return made


@asynccontextmanager
async def open_lane(world: World, stage: TimedStage) -> AsyncIterator[Lane]:
    role = Role("reviews", "g", ("decisions", "successors"), lambda number: stage)
    world.worker = type(world.worker)(world.worker.kafka, role, 1)
    lane = world.lane()
    task = asyncio.create_task(lane.run())
    try:
        await until(lambda: lane.state == "open")
        yield lane
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_is_due_is_committed_without_a_record_and_without_offsets(world: World) -> None:
    world.due_ms = world.now_ms + 500
    async with open_lane(world, TimedStage(world)):
        for _ in range(20):
            await asyncio.sleep(0)
        assert "timer" not in world.names()
        world.now_ms += 500
        await until(lambda: "commit" in world.names())
    _, records, offsets, _ = next(what for what in world.done if what[0] == "commit")
    assert records == [Outgoing("t.exceptions", b"k", b"expired"), Outgoing("t.state", b"reviews/0/open/r", None)]
    assert offsets == {}


async def test_a_timer_that_finds_nothing_opens_no_transaction(world: World) -> None:
    stage = TimedStage(world)
    stage.says_something = False
    world.due_ms = world.now_ms
    async with open_lane(world, stage) as lane:
        await until(lambda: "timer" in world.names())
        lane.offer(delivered(5, b"a"))
        await until(lambda: "commit" in world.names())
        assert lane.deciding is False
    assert world.names().count("commit") == 1


async def test_records_that_wait_and_what_is_due_go_together(world: World) -> None:
    async with open_lane(world, TimedStage(world)) as lane:
        world.due_ms = world.now_ms
        lane.offer(delivered(5, b"a"))
        await until(lambda: "commit" in world.names())
    assert [what[1] for what in world.done if what[0] == "timer"] == [[b"a"]]
