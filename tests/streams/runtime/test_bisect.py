"""One record of a batch that fails is found by halves and set aside; the others are answered once, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from streams.batch import Fetched
from streams.errors import PromiseBroken
from streams.runtime import lane as module
from streams.runtime.bisect import POISON_MAX, split
from streams.runtime.delivered import Delivered
from streams.runtime.lane import Lane
from streams.runtime.stage import Batch
from streams.runtime.transactions import Fenced
from tests.streams.runtime.fakes import DECISIONS, EchoStage, World, delivered, until

COUNT = 2_000


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Transactions", made.transactions)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    return made


@asynccontextmanager
async def fed(world: World, *values: bytes) -> AsyncIterator[tuple[Lane, asyncio.Task[None]]]:
    """A lane whose topic holds these values from offset 5 on; after each hand-over it is read from where it says."""
    lane = world.lane()
    task = asyncio.create_task(lane.run())
    feeding = asyncio.create_task(_feed(world, lane, values))
    try:
        yield lane, task
    finally:
        for one in (task, feeding):
            one.cancel()
            with suppress(asyncio.CancelledError, PromiseBroken):
                await one


async def _feed(world: World, lane: Lane, values: Sequence[bytes]) -> None:
    while True:
        if lane.state == "open" and (at := lane.position(DECISIONS)) is not None and at - 5 < len(values):
            lane.offer(delivered(at, *values[at - 5 :]))
        await asyncio.sleep(0)


def committed(world: World) -> list[bytes | None]:
    done = [records for name, records, *_ in (what for what in world.done if what[0] == "commit")]
    return [one.value for records in done for one in records if one.topic == "t.exceptions"]


@pytest.mark.parametrize("intact", [True, False])
@pytest.mark.parametrize("bad", [b"raise", b"large"])
@pytest.mark.parametrize("at", [0, 777, COUNT - 1])
async def test_one_of_many_is_set_aside(world: World, intact: bool, bad: bytes, at: int) -> None:
    world.intact = intact
    values = [b"%d" % number for number in range(COUNT)]
    values[at] = bad
    async with fed(world, *values) as (lane, task):
        await until(lambda: world.committed[DECISIONS] == 5 + COUNT or task.done())
        assert not task.done(), task.exception()
        assert lane.state == "open"
    values[at] = b"invalid.poison"
    assert committed(world) == values
    assert len([what for what in world.done if what[0] == "decide"]) < 60
    handed_over = world.names().count("start")
    assert (handed_over == 1) if (intact and bad == b"raise") else (1 < handed_over < 30)


async def test_poison_is_counted_by_input_and_cause(world: World) -> None:
    async with fed(world, b"a", b"raise", b"large", b"b") as (lane, _):
        await until(lambda: world.committed[DECISIONS] == 9)
        counts = lane._meter.board.numbers
        assert [counts("poison_records", ("decisions", cause))[0] for cause in ("decide", "send")] == [1, 1]
    assert committed(world) == [b"a", b"invalid.poison", b"invalid.poison", b"b"]


async def test_many_that_fail_among_many_are_all_set_aside(world: World) -> None:
    values = [b"raise" if number % 100 < 30 else b"%d" % number for number in range(COUNT)]
    async with fed(world, *values) as (_, task):
        await until(lambda: world.committed[DECISIONS] == 5 + COUNT or task.done(), 50_000)
        assert not task.done(), task.exception()
    assert committed(world) == [b"invalid.poison" if value == b"raise" else value for value in values]


async def test_a_mistake_that_fails_everything_ends_the_lane(world: World) -> None:
    async with fed(world, *[b"raise"] * COUNT) as (_, task):
        await until(task.done)
        told = rf"partition 0: {POISON_MAX} records in a row could not be answered, .* \(KeyError\): it is not the rec"
        with pytest.raises(PromiseBroken, match=told):
            await task
    assert committed(world) == [b"invalid.poison"] * POISON_MAX


class Sick(EchoStage):
    """Fails whatever it is given, and where nothing is."""

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        raise ZeroDivisionError


async def test_what_fails_without_any_record_is_no_records_fault(world: World) -> None:
    object.__setattr__(world.worker.role, "new_stage", lambda number: Sick(world))
    async with fed(world, b"a", b"b") as (_, task):
        await until(task.done)
        with pytest.raises(PromiseBroken, match=r"what is due without any record cannot be answered \(ZeroDivision"):
            await task
    assert committed(world) == []


class Stubborn(EchoStage):
    """Fails on a record, and on its refusal too."""

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        if any(len(one) for one in fetched):
            raise ZeroDivisionError
        return super().decide(fetched, now_ms, commit_ms)


async def test_a_record_that_cannot_even_be_refused_ends_the_lane(world: World) -> None:
    object.__setattr__(world.worker.role, "new_stage", lambda number: Stubborn(world))
    async with fed(world, b"a") as (_, task):
        await until(task.done)
        with pytest.raises(PromiseBroken, match=r"offset 5 of t.decisions cannot even be refused"):
            await task


async def test_what_is_nobodys_record_is_not_taken_in_pieces(world: World) -> None:
    world.raising["decide"] = [Fenced("by another")]
    async with fed(world, b"a", b"b", b"c", b"d"):
        await until(lambda: world.committed[DECISIONS] == 9)
    assert [len(what[1]) for what in world.done if what[0] == "decide"] == [4, 4]


def test_a_batch_is_split_where_its_records_stand() -> None:
    whole = delivered(5, b"a", b"b", b"c")
    gap = Delivered(whole.fetched, whole.base, whole.next + 4, whole.size_bytes)
    gap.fetched.offsets[2] = 9
    first, rest = split(gap, 2)
    assert (first.base, first.next, rest.base, rest.next) == (5, 9, 9, 12)
    assert (first.fetched.values, rest.fetched.values) == ([b"a", b"b"], [b"c"])
    assert first.size_bytes + rest.size_bytes == whole.size_bytes
