"""A lane on fakes: how far was read, by group, changelog and log, and what it does where they differ."""

from __future__ import annotations

import pytest

from streams.batch import Unread
from streams.runtime import lane as module
from streams.runtime.delivered import passed
from streams.runtime.lane import Lane
from streams.truths import Apart, written
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS, World, delivered, until
from tests.streams.runtime.test_lane import running


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(module, "Transactions", made.transactions)
    for name in ("RETRY_S", "LOOK_AGAIN_S"):
        monkeypatch.setattr(module, name, 0.0)
    return made


async def opened(world: World) -> Lane:
    """A lane that has been open."""
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
    return lane


async def test_a_first_hand_over_says_where_it_begins(world: World) -> None:
    """So that what retention removes before anything is read is known, and a topic made again is seen."""
    world.committed, world.changelog = {}, {}
    await opened(world)
    (claim,) = [what for what in world.done if what[0] == "claim"]
    assert claim[2] == {DECISIONS: 0, SUCCESSORS: 2}
    assert world.changelog == written(world.identity, {"decisions": 0, "successors": 2})


async def test_a_changelog_without_an_identity_is_taken_once_and_its_last_owner_fenced(world: World) -> None:
    """An earlier version fenced by group: that id is initialised too, and the offsets are read after it."""
    del world.changelog["identity"]
    for life in range(2):
        await opened(world)
        assert world.ids == ["t./gate/0", "t./g/0"] + ["t./gate/0"] * life
    assert world.names().count("claim") == 1


async def test_what_was_removed_before_it_was_read_comes_first_as_one_row(world: World) -> None:
    world.beginnings[DECISIONS] = 9
    lane = world.lane()
    async with running(lane):
        await until(lambda: "commit" in world.names())
        lane.offer(delivered(9, b"a"))
        await until(lambda: world.committed[DECISIONS] == 10)
    assert ("seek", DECISIONS, 9) in world.done
    assert lane._meter.board.read()["lost_records", ("decisions",)][0] == 4, "offsets, not rows"
    (row,) = world.unread
    assert row == (5, Unread("lost.removed", 8, row[1].detail))
    assert row[1].detail.startswith("t.decisions/0: offsets 5 to 8 were removed before they were read")


async def test_truths_that_differ_stop_the_lane_until_they_do_not(world: World) -> None:
    world.committed[DECISIONS] = 105
    lane = world.lane()
    async with running(lane):
        await until(lambda: world.names().count("start") > 3)
        assert not lane.takes_records
        assert "t.decisions/0: the group g has committed offset 105" in str(lane.waits_for)
        assert lane.progress >= 3, "it looks again, and is not stuck"
        assert "seek" not in world.names()
        world.committed[DECISIONS] = 5
        await until(lambda: lane.state == "open")
        assert lane.waits_for is None


async def test_what_was_only_passed_over_is_committed_at_the_end(world: World) -> None:
    """A marker behind the last record would look unread on the day on which retention takes it."""
    lane = world.lane()
    async with running(lane) as task:
        await until(lambda: lane.state == "open")
        lane.offer(passed("t.decisions", "decisions", 0, 5, 7, 0))
        assert not lane.busy
        lane.finish()
        await until(task.done)
    assert world.committed[DECISIONS] == 7
    assert world.changelog["offsets/decisions"] == b"7"


async def test_a_doubt_stops_a_lane_that_is_open(world: World) -> None:
    lane = world.lane()
    async with running(lane):
        await until(lambda: lane.state == "open")
        lane.offer(delivered(5, b"not decided any more"))
        lane.doubt(Apart("the topic was made again"))
        await until(lambda: lane.waits_for == "the topic was made again")
    assert "decide" not in world.names()
