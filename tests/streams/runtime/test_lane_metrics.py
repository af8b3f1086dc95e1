"""What a lane tells of how far behind it is, and what it counts: only what was committed, and how the rest ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from streams.runtime import lane as module
from streams.runtime.delivered import Delivered
from streams.runtime.lane import Lane
from streams.runtime.transactions import Failed, Fenced, Late
from tests.streams.runtime.fakes import World, delivered, until
from tests.streams.runtime.test_lane import running


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Transactions", made.transactions)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    return made


def came(at_ms: int, base: int, broker_time: bool = True) -> Delivered:
    one = delivered(base, b"a")
    return replace(one, fetched=replace(one.fetched, timestamps_ms=[at_ms], read_ms=7_000, broker_time=broker_time))


def counted(lane: Lane) -> dict[str, float]:
    found = lane._meter.board.read()
    return {"/".join((name, *labels)): numbers[0] for (name, labels), numbers in found.items() if numbers[0]}


async def test_it_waits_since_it_is_not_open_then_since_what_came_first_then_for_nothing(world: World) -> None:
    lane = world.lane()
    waits = [lane.waits_since_ms]
    world.now_ms, world.hold = 9_000, asyncio.Event()
    async with running(lane):
        await until(lambda: lane.state == "open")
        waits.append(lane.waits_since_ms)
        lane.offer(came(8_100, base=5))
        lane.offer(came(8_700, base=6))
        waits.append(lane.waits_since_ms)
        await until(lambda: "decide" in world.names())
        waits.append(lane.waits_since_ms)  # while its transaction is open
        world.hold.set()
        await until(lambda: lane.waits_since_ms is None)
        lane.offer(came(1, base=7, broker_time=False))
        waits.append(lane.waits_since_ms)  # a producer's clock is not to be trusted: when it was read
    assert waits == [1_000, None, 8_100, 8_100, 7_000]


async def test_after_a_failure_what_waited_waits_on(world: World) -> None:
    lane = world.lane()
    world.raising["commit"] = [Failed("no answer")]
    async with running(lane):
        await until(lambda: lane.state == "open")
        world.raising["start"] = [Failed("still no answer")] * 3
        lane.offer(came(800, base=5))
        await until(lambda: world.names().count("start") == 3)
        assert lane.waits_since_ms == 800
        await until(lambda: lane.state == "open")
        assert lane.waits_since_ms is None


async def test_what_is_committed_is_counted_once(world: World) -> None:
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a", b"b"))
        lane.offer(delivered(2, b"c", input_="successors"))
        await until(lambda: lane.progress == 2)
    found = counted(lane)
    assert (found["decisions/decisions"], found["decisions/successors"]) == (2, 1)
    assert found["transactions/committed"] == found["hand_overs"] == 1
    assert found["last_commit_timestamp_seconds/0"] == 1.0


@pytest.mark.parametrize("error", [Late(), Fenced("x"), Failed("x")], ids=["late", "fenced", "failed"])
async def test_what_is_not_committed_is_counted_by_how_it_ended_alone(world: World, error: Exception) -> None:
    lane = world.lane()
    world.raising["commit"], world.forgets = [error], False
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: world.names().count("restore") == 2 and lane.state == "open")
    found = counted(lane)
    assert {name for name in found if name.startswith("transactions/")} == {
        f"transactions/{type(error).__name__.lower()}"
    }
    assert "decisions/decisions" not in found
    assert found["hand_overs"] == 2
