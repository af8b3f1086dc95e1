"""The lanes of a worker: made with the assignment, ended with it within a bound, and never for half a number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiokafka import TopicPartition

from streams.errors import PromiseBroken
from streams.runtime import lane as lane_module
from streams.runtime import lanes as module
from streams.runtime.lanes import Lanes
from streams.runtime.lookup import Lookup
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS, FakeLookup, World, delivered, until


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(lane_module, "Transactions", made.transactions)
    return made


@pytest.fixture
async def lanes(world: World) -> AsyncIterator[Lanes]:
    made = Lanes(world.worker, cast(Lookup, FakeLookup(world)), lambda: world.now_ms, dead.append)
    dead.clear()
    yield made
    await made.release()


dead: list[BaseException] = []


async def open_lane(lanes: Lanes, world: World) -> None:
    lanes.take([SUCCESSORS, DECISIONS], world)
    await until(lambda: bool(lanes.wanted()))


async def test_a_number_that_came_without_all_its_inputs_ends_the_process(lanes: Lanes, world: World) -> None:
    lanes.take([DECISIONS, SUCCESSORS, TopicPartition("t.decisions", 1)], world)
    (error,) = dead
    assert isinstance(error, PromiseBroken)
    assert "the group split partition number 1" in str(error)
    assert list(lanes) == [], "not even the whole number is begun"


async def test_nothing_is_fetched_before_a_lane_is_open(lanes: Lanes, world: World) -> None:
    lanes.take([DECISIONS, SUCCESSORS], world)
    assert lanes.assigned
    assert lanes.wanted() == set()
    await until(lambda: lanes.wanted() == {DECISIONS, SUCCESSORS})
    assert lanes.all_wanted()


async def test_a_full_lane_holds_back_nobody_else(lanes: Lanes, world: World) -> None:
    """In stock Faust the drain blocks on the first full stream, and all others starve."""
    others = {TopicPartition(topic, 1) for topic in ("t.decisions", "t.successors")}
    world.beginnings |= dict.fromkeys(others, 0)
    world.ends |= dict.fromkeys(others, 0)
    world.committed |= {DECISIONS: 0}
    world.changelog["offsets/decisions"] = b"0"
    lanes.take([DECISIONS, SUCCESSORS, *others], world)
    await until(lambda: len(lanes.wanted()) == 4)
    world.hold = asyncio.Event()
    lanes.offer(delivered(0, *[b"a"] * 2_000))
    await until(lambda: "decide" in world.names())
    for base in range(2_000, 10_000, 2_000):
        lanes.offer(delivered(base, *[b"a"] * 2_000))
    assert lanes.wanted() == others
    assert not lanes.all_wanted()
    world.hold.set()


async def test_an_error_in_a_lane_ends_the_process(lanes: Lanes, world: World) -> None:
    world.raising["decide"] = [PromiseBroken("the stage says so")]
    await open_lane(lanes, world)
    lanes.offer(delivered(5, b"a"))
    await until(lambda: bool(dead))
    assert isinstance(dead[0], PromiseBroken)


async def test_a_batch_without_a_lane_is_somebody_elses(lanes: Lanes, world: World) -> None:
    await open_lane(lanes, world)
    lanes.offer(delivered(0, b"a", partition=3))
    await lanes.release()
    lanes.offer(delivered(5, b"a"))
    assert "decide" not in world.names()
    assert lanes.wanted() == set()
    assert not lanes.assigned


async def test_release_lets_the_transaction_under_way_finish(lanes: Lanes, world: World) -> None:
    world.hold = asyncio.Event()
    await open_lane(lanes, world)
    lanes.offer(delivered(5, b"a"))
    await until(lambda: "decide" in world.names())
    releasing = asyncio.create_task(lanes.release())
    await until(lambda: list(lanes) == [])
    world.hold.set()
    await releasing
    assert world.committed[DECISIONS] == 6
    assert world.names()[-1] == "stop"


async def test_release_is_bounded(lanes: Lanes, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELEASE_S", 0.05)
    world.hold = asyncio.Event()
    await open_lane(lanes, world)
    lanes.offer(delivered(5, b"a"))
    await until(lambda: "decide" in world.names())
    await lanes.release()
    assert world.committed[DECISIONS] == 5
    assert dead == [], "being told to end is no error"


async def test_the_same_number_again_begins_with_a_hand_over(lanes: Lanes, world: World) -> None:
    await open_lane(lanes, world)
    await lanes.release()
    lanes.take([DECISIONS, SUCCESSORS], world)
    await until(lambda: bool(lanes.wanted()))
    assert world.names().count("start") == 2
    assert world.names().count("seek") == 4
