"""What is ready, what is waited for, and the gauges of the partitions, on fakes; a report is the only clock."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from streams.runtime.health import IDLE_MAX, Health
from streams.runtime.in_force import DEAF_MAX_S, InForce
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.settings import Kafka
from streams.runtime.world import Needs
from tests.streams.runtime.fakes import DECISIONS, SUCCESSORS
from tests.streams.runtime.test_watchdog import FakeLane, FakeLanes, watchdog

NOW_MS = 10_000


class Lane(FakeLane):
    """With what health looks at and the watchdog does not."""

    state = "open"
    waits_since_ms: int | None = None


def health(*lanes: Lane) -> Health:
    dog, _ = watchdog(*lanes)
    meter = Meter(Board.private())
    in_force = InForce(Kafka("nowhere:1", "t."), Needs.of_gate, lambda: NOW_MS, meter)
    return Health(dog.lanes, dog, in_force, meter, lambda: NOW_MS)


def reported(one: Health, times: int = 1) -> dict[str, Any]:
    for _ in range(times):
        one.report()
    status = one.meter.board.status()
    assert status is not None
    assert status["ready"] == (not status["waits"])
    return status


def gauges(one: Health) -> dict[str, float]:
    return {"/".join((name, *labels)): numbers[0] for (name, labels), numbers in one.meter.board.read().items()}


def test_with_its_partitions_open_it_is_ready() -> None:
    assert reported(health(Lane(0), Lane(1))) == {"ready": True, "partitions": [0, 1], "waits": []}


def test_a_member_that_the_group_gave_nothing_is_ready() -> None:
    assert reported(health()) == {"ready": True, "partitions": [], "waits": []}


def test_without_an_assignment_it_waits_for_the_group() -> None:
    one = health()
    one.lanes.assigned = False
    assert reported(one)["waits"] == [{"for": "the group g to assign partitions"}]


def test_a_broker_that_does_not_answer_is_named() -> None:
    one = health(Lane(0))
    one.watchdog.answers = False
    assert reported(one)["waits"] == [{"for": "the broker at b:1"}]


def test_a_worker_that_would_not_hear_a_halt_is_unready(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker answers, commands could go on: but the topic on which a halt would come cannot be read."""
    one, now_s = health(Lane(0)), 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    one.in_force._tail._looked_s = 1_000.0
    assert reported(one)["ready"]
    now_s += DEAF_MAX_S
    assert reported(one)["ready"], "a look is due every 5 s; one that is late is none"
    now_s += 1
    told = "the topic t.policies, which cannot be read for 31 s: no halt would be heard"
    assert reported(one)["waits"] == [{"for": told}]
    one.watchdog.answers = False
    assert reported(one)["waits"] == [{"for": "the broker at b:1"}], "one cause, one line"


def test_a_partition_says_what_it_waits_for() -> None:
    handed, waiting = Lane(2), Lane(0, waits_for="another owner")
    handed.state = waiting.state = "hand-over"
    assert reported(health(handed, waiting, Lane(1)))["waits"] == [
        {"partition": 0, "for": "another owner"},
        {"partition": 2, "for": "its hand-over"},
    ]


def test_work_without_progress_is_unready_and_progress_is_ready_again() -> None:
    lane = Lane(0, busy=True)
    one = health(lane)
    assert reported(one, IDLE_MAX)["ready"]
    assert reported(one)["waits"] == [{"partition": 0, "for": "progress: it has work and did none in 10 s"}]
    lane.progress += 1
    assert reported(one)["ready"]


def test_lag_is_since_when_the_oldest_waits_and_nothing_when_none_does() -> None:
    lane, idle, ahead = Lane(0), Lane(1), Lane(2)
    lane.waits_since_ms, ahead.waits_since_ms = NOW_MS - 2_500, NOW_MS + 300
    one = health(lane, idle, ahead)
    reported(one)
    found = gauges(one)
    assert [found[f"lag_seconds/{number}"] for number in (0, 1, 2)] == [2.5, 0.0, 0.0]
    assert found["partitions"] == 3


def test_while_the_broker_is_silent_what_came_since_then_may_wait() -> None:
    one = health(Lane(0))
    now_ms = iter([1_000, 2_000, 9_500, 11_000])
    one.clock_ms = lambda: next(now_ms)
    lags = []
    for answers in (True, False, False, True):
        one.watchdog.answers = answers
        reported(one)
        lags.append(gauges(one)["lag_seconds/0"])
    assert lags == [0.0, 0.0, 7.5, 0.0]


def test_lag_in_offsets_is_known_once_the_ends_are() -> None:
    lane = Lane(0, positions={DECISIONS: 5, SUCCESSORS: 9})
    one = health(lane)
    reported(one)
    assert "lag_offsets/decisions/0" not in gauges(one)
    one.watchdog.ends = {DECISIONS: 12, SUCCESSORS: 8}
    reported(one)
    assert gauges(one)["lag_offsets/decisions/0"] == 7
    assert gauges(one)["lag_offsets/successors/0"] == 0, "the ends are older than the position"


def test_gauges_of_a_partition_go_with_it() -> None:
    lane = Lane(0, positions={DECISIONS: 5})
    one = health(lane)
    one.watchdog.ends = {DECISIONS: 12}
    one.meter.gauge("window_ids", 3, "0")
    reported(one)
    cast(FakeLanes, one.lanes).lanes = ()
    reported(one)
    assert gauges(one)["partitions"] == 0
    assert not any(name.endswith("/0") for name in gauges(one))


def test_a_policy_that_cannot_be_used_is_waited_for() -> None:
    looked_at = health()
    looked_at.in_force.troubles = ["billing@4 cannot be used here: no; billing@3 stays in force"]
    found = reported(looked_at)
    assert found["waits"][-1] == {"for": f"a policy that can be used: {looked_at.in_force.troubles[0]}"}
