"""A lane on fakes: the order of the hand-over, what each failure leads to, and that what waits is bounded."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from streams.errors import PromiseBroken
from streams.runtime import lane as module
from streams.runtime.lane import Lane
from streams.runtime.settings import BATCH_BYTES_MAX, FAILURES_MAX, PENDING_BYTES_MAX, PENDING_RECORDS_MAX
from streams.runtime.transactions import Denied, Failed, Fenced, Late, Outgoing
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS, World, delivered, until

HAND_OVER = ["start", "committed", "changelog", "beginnings", "restore", "seek", "seek"]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Transactions", made.transactions)
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    monkeypatch.setattr(module, "CLOCK_LOOK_S", 0.0)
    return made


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(lane.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, PromiseBroken, KeyError):
            await task


async def test_the_order_of_the_hand_over(world: World) -> None:
    """Producer first: it fences the last owner. Offsets first would read too low when that one commits in between."""
    lane = world.lane()
    assert not lane.takes_records
    assert lane.busy
    async with running(lane):
        await until(lambda: lane.state == "open")
    assert world.names()[: len(HAND_OVER)] == HAND_OVER
    assert [what[1:] for what in world.done if what[0] == "seek"] == [(DECISIONS, 5), (SUCCESSORS, 2)]
    assert next(what[1] for what in world.done if what[0] == "restore")["window/1"] == b"w"
    assert world.changed.is_set(), "the fetcher is told"


async def test_a_group_without_offsets_goes_on_where_the_changelog_ends(world: World) -> None:
    """A group that was empty for a week loses its offsets; what it has decided must not be decided again."""
    world.committed = {}
    world.changelog = {"offsets/decisions": b"41", "offsets/successors": b"9"}
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
    assert [what[1:] for what in world.done if what[0] == "seek"] == [(DECISIONS, 41), (SUCCESSORS, 9)]
    assert [what[2] for what in world.done if what[0] == "claim"] == [{DECISIONS: 41, SUCCESSORS: 9}], "said anew"


async def test_records_that_come_before_the_hand_over_is_done_are_not_taken(world: World) -> None:
    lane = world.lane()
    lane.offer(delivered(5, b"early"))
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "commit" in world.names())
    assert [what[1] for what in world.done if what[0] == "decide"] == [[b"a"]]


async def test_outputs_changelog_and_offsets_are_one_transaction(world: World) -> None:
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a", b"b"))
        lane.offer(delivered(2, b"c", input_="successors"))
        await until(lambda: "commit" in world.names())
    _, records, offsets, _ = next(what for what in world.done if what[0] == "commit")
    assert records == [
        *(Outgoing("t.exceptions", b"k", value) for value in (b"a", b"b", b"c")),
        Outgoing("t.state", b"gate/0/memory", b"m"),
        Outgoing("t.state", b"gate/0/offsets/decisions", b"7"),
        Outgoing("t.state", b"gate/0/offsets/successors", b"3"),
    ]
    assert offsets == {DECISIONS: 7, SUCCESSORS: 3}


async def test_what_arrives_during_a_transaction_goes_into_the_next_one_together(world: World) -> None:
    world.hold = asyncio.Event()
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        for base, value in ((5, b"a"), (6, b"b"), (7, b"c")):
            lane.offer(delivered(base, value))
            await until(lambda: "decide" in world.names())
        world.hold.set()
        await until(lambda: world.names().count("commit") == 2)
    assert [what[1] for what in world.done if what[0] == "decide"] == [[b"a"], [b"b", b"c"]]


async def test_a_stale_batch_is_refused_and_the_lane_seeks_back(world: World) -> None:
    """Faust drops what it fetched while a partition was inactive: the next batch then does not follow."""
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(9, b"too far"))
        await until(lambda: world.names().count("seek") == 3)
        assert world.done[-1] == ("seek", DECISIONS, 5)
        lane.offer(delivered(0, b"from an older assignment"))
        await until(lambda: world.names().count("seek") == 4)
        lane.offer(delivered(5, b"a"))
        await until(lambda: "commit" in world.names())
    assert [what[1] for what in world.done if what[0] == "decide"] == [[b"a"]]


async def test_a_late_batch_is_decided_again_and_nothing_is_thrown_away(world: World) -> None:
    """A deadline passed before the commit: the same stage, the same producer, a new time."""
    world.raising["commit"] = [Late(), Late()]
    world.deadline_ms = 1_000
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: world.kept == 1)
    assert [what[1:] for what in world.done if what[0] == "decide"] == [([b"a"], 1_000)] * 3
    assert [what[3] for what in world.done if what[0] == "commit"] == [True] * 3, "the clock is asked at the end"
    assert (world.names().count("start"), world.names().count("restore")) == (1, 1)


async def test_the_brokers_time_of_the_records_is_late_too(world: World) -> None:
    world.deadline_ms, world.appended_ms = 5_000, 5_000
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "commit" in world.names())
    assert [what[3] for what in world.done if what[0] == "commit"] == [True]


async def test_a_stage_that_cannot_forget_is_handed_over_when_it_is_late(world: World) -> None:
    world.raising["commit"] = [Late()]
    world.deadline_ms, world.forgets = 1_000, False
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: world.names().count("start") == 2 and lane.state == "open")
        world.now_ms = 2_000
        lane.offer(delivered(5, b"a"))
        await until(lambda: world.names().count("commit") == 2)
    assert [what[1:] for what in world.done if what[0] == "decide"] == [([b"a"], 1_000), ([b"a"], 2_000)]


async def test_nothing_is_decided_while_the_clock_cannot_be_believed(world: World) -> None:
    """Neither taken over: what is read back is held against the time."""
    world.doubts = "the clocks to agree"
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.waits_for == "the clocks to agree")
        assert world.names() == []
        world.doubts = None
        await until(lambda: lane.state == "open")
        world.doubts = "the clocks to agree"
        lane.offer(delivered(5, b"a"))
        await until(lambda: lane.waits_for == "the clocks to agree")
        assert "decide" not in world.names()
        world.now_ms, world.doubts = 7_000, None
        await until(lambda: world.kept == 1)
        assert lane.waits_for is None
    assert [what[1:] for what in world.done if what[0] == "decide"] == [([b"a"], 7_000)]


@pytest.mark.parametrize("error", [Fenced("by another"), Failed("a timeout")])
async def test_after_a_failed_commit_everything_is_thrown_away(world: World, error: Exception) -> None:
    """Its result is unknown: memory and producer go, the offset is read again, records fetched before do not count."""
    world.raising["commit"] = [error]
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "stop" in world.names() and lane.state == "open")
        first_life = world.names().index("stop")
        assert world.names()[first_life + 1 :] == HAND_OVER
        assert lane.waits_for is None
        lane.offer(delivered(6, b"b"))
        await until(lambda: world.names().count("seek") == 5)
    assert world.done[-2] == ("seek", DECISIONS, 5)
    assert world.committed[DECISIONS] == 5


async def test_a_broker_that_is_away_is_waited_for_by_name(world: World) -> None:
    world.raising["start"] = [Failed("no answer") for _ in range(50)]
    lane = world.lane()
    async with running(lane):
        await until(lambda: world.names().count("start") > 40)
        assert lane.waits_for == "the broker at b:1"
        assert lane.progress == 0
        await until(lambda: lane.state == "open")
        assert lane.waits_for is None


async def test_a_broker_that_answers_and_takes_nothing_is_not_tried_for_ever(world: World) -> None:
    """A send that fails for good: nothing was committed, and the process must not go on in silence."""
    world.raising["commit"] = [Failed("MessageSizeTooLargeError") for _ in range(50)]
    lane = world.lane()
    task = asyncio.create_task(lane.run())
    for _ in range(1_000):
        lane.offer(delivered(5, b"a"))
        await asyncio.sleep(0)
    assert task.done()
    assert world.names().count("commit") == FAILURES_MAX
    with pytest.raises(PromiseBroken, match=r"partition 0: the broker answers, but 5 .*MessageSizeTooLargeError"):
        await task
    assert world.committed[DECISIONS] == 5


async def test_failures_with_commits_between_them_are_waited_out(world: World) -> None:
    lane = world.lane()
    async with running(lane) as task:
        for _ in range(2 * FAILURES_MAX):
            world.raising["commit"] = [Failed("once")]
            base = world.committed[DECISIONS]
            while world.committed[DECISIONS] == base:
                lane.offer(delivered(base, b"a"))
                await asyncio.sleep(0)
        assert not task.done()
    assert world.names().count("start") >= 2 * FAILURES_MAX


async def test_what_the_broker_will_never_allow_ends_the_process(world: World) -> None:
    world.raising["start"] = [Denied("TransactionalIdAuthorizationFailed")]
    with pytest.raises(PromiseBroken, match="refuses the transaction"):
        await world.lane().run()


async def test_a_changelog_that_cannot_be_read_stops_its_lane_alone(world: World) -> None:
    world.raising["restore"] = [ValueError("format 9")]
    lane = world.lane()
    async with running(lane) as task:
        await until(lambda: "partition 0 of t.state cannot be read: format 9" in (lane.waits_for or ""))
        assert not task.done()
    assert "commit" not in world.names()


async def test_a_broken_promise_in_the_stage_ends_the_task_with_nothing_committed(world: World) -> None:
    world.raising["decide"] = [PromiseBroken("the stage says so")]
    lane = world.lane()
    async with running(lane) as task:
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(task.done)
        assert isinstance(task.exception(), PromiseBroken)
    assert "commit" not in world.names()
    assert world.names()[-1] == "stop"


async def test_finish_ends_after_the_transaction_under_way(world: World) -> None:
    world.hold = asyncio.Event()
    lane = world.lane()
    async with running(lane) as task:
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "decide" in world.names())
        lane.offer(delivered(6, b"for the next owner"))
        lane.finish()
        assert not lane.takes_records
        lane.offer(delivered(7, b"too late"))
        world.hold.set()
        await until(task.done)
    assert lane.state == "closed"
    assert world.committed[DECISIONS] == 6
    assert world.names().count("commit") == 1


async def test_an_idle_lane_finishes_at_once(world: World) -> None:
    lane = world.lane()
    async with running(lane) as task:
        await until(lambda: lane.state == "open")
        assert not lane.busy
        lane.finish()
        await until(task.done)
    assert "commit" not in world.names()


async def test_a_full_lane_takes_no_records_and_says_when_it_does_again(world: World) -> None:
    world.hold = asyncio.Event()
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "decide" in world.names())
        base = 6
        while lane.takes_records:
            lane.offer(delivered(base, *[b"b"] * 1_000))
            base += 1_000
        assert base == 6 + PENDING_RECORDS_MAX
        world.changed.clear()
        world.hold.set()
        await until(lambda: lane.takes_records)
        assert world.changed.is_set()
        await until(lambda: world.committed[DECISIONS] == base)
    sizes = [len(what[1]) for what in world.done if what[0] == "decide"]
    assert (sizes[0], sum(sizes), max(sizes)) == (1, 1 + PENDING_RECORDS_MAX, 2000), "more at once, as they are quick"


async def test_large_records_fill_a_lane_and_a_transaction_by_their_bytes(world: World) -> None:
    world.hold = asyncio.Event()
    mebibytes = b"x" * ((4 << 20) - 1)  # with its key, 4 MiB
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"a"))
        await until(lambda: "decide" in world.names())
        base = 6
        while lane.takes_records:
            lane.offer(delivered(base, mebibytes))
            base += 1
        assert base == 6 + PENDING_BYTES_MAX // (4 << 20)
        world.hold.set()
        await until(lambda: world.committed[DECISIONS] == base and lane.takes_records)
    sizes = [len(what[1]) for what in world.done if what[0] == "decide"]
    assert sizes == [1, *[BATCH_BYTES_MAX // (4 << 20)] * 4]


async def test_a_topic_that_was_made_again_ends_the_process(world: World) -> None:
    lane = world.lane()
    older = dataclasses.replace(delivered(0, b"a"), base=5)
    async with running(lane) as task:
        await until(lambda: lane.state == "open")
        lane.offer(older)
        await until(task.done)
        with pytest.raises(PromiseBroken, match=r"t.decisions/0 holds offset 0 where the group has committed 5"):
            task.result()
    assert "decide" not in world.names()
