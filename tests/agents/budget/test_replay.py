"""A replay under the present budget is what happened; under another one, what the path would have done."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from agents.budget.recording import Input, Recording
from agents.budget.replay import Replay, kept_back_ms
from streams.budget import State
from tests.agents.budget.recorded import Arrival, recording_of, through
from tests.streams.making import NOW_MS, decision, policy, successor

ALL = {"name": "all", "then": "autonomous"}
TO_ALL = policy([ALL], budget="20s")
ASKING = policy([ALL], evaluator={"url": "http://127.0.0.1:9"}, budget="20s", total="10m", on_stale="reevaluate")


def arrival(number: int, age_ms: int, **fields: Any) -> Arrival:
    gated_at_ms = NOW_MS + number * 100
    return Arrival(decision(number, **{"observed_at_ms": gated_at_ms - age_ms, **fields}), gated_at_ms)


def states(replay: Replay, budget_ms: int) -> list[State]:
    return [State(one) for one in replay.under(budget_ms).states.tolist()]


def test_under_the_present_budget_everything_comes_out_as_it_did() -> None:
    rules: list[dict[str, Any]] = [{"name": "no", "when": {"segment": {"equals": "x"}}, "then": "block"}, ALL]
    one = policy(rules, budget="20s", supersede=True)
    arrivals = [
        arrival(n, n * 700, entity=f"a-{n % 5}", segment="x" if n % 9 == 0 else "y", action={"type": f"t{n % 2}"})
        for n in range(60)
    ]
    happened = []
    for _, value, output in through(arrivals, one):
        reason = orjson.loads(value)["reason"]
        stale = reason.startswith("stale")
        happened.append(State.KEPT if output == "commands" else State.DROPPED if stale else State.OTHER)
    assert states(Replay(recording_of(arrivals, one), one), 20_000) == happened
    assert {State.KEPT, State.DROPPED, State.OTHER} == set(happened)


def test_another_budget_keeps_or_drops_at_the_millisecond() -> None:
    replay = Replay(recording_of([arrival(1, 5_000), arrival(2, 30_000)], TO_ALL), TO_ALL)
    assert states(replay, 5_000) == [State.DROPPED, State.DROPPED]
    assert states(replay, 5_001) == [State.KEPT, State.DROPPED]
    assert states(replay, 30_001) == [State.KEPT, State.KEPT]
    assert replay.under(5_001).value_minor(State.DROPPED) == {"USD": 1_250}


def test_a_repeat_is_counted_once_and_stays_a_repeat_under_any_budget() -> None:
    first = arrival(1, 30_000)
    recording = recording_of([first, replace_time(first, 50), replace_time(first, 90)], TO_ALL)
    assert states(Replay(recording, TO_ALL), 60_000) == [State.KEPT]


def test_what_was_shed_stays_shed_and_is_no_evidence_for_a_budget() -> None:
    recording = recording_of([arrival(1, 1_000), arrival(2, 1_000)], TO_ALL)
    place = list(recording.answers)[1]
    recording.answers[place] = recording.answers[place]._replace(output="exceptions", reason="shed.overload")
    assert states(Replay(recording, TO_ALL), 600_000) == [State.KEPT, State.OTHER]


def test_what_the_producer_let_expire_no_budget_keeps() -> None:
    late = arrival(1, 5_000, expires_at_ms=NOW_MS)
    assert states(Replay(recording_of([late], TO_ALL), TO_ALL), 600_000) == [State.DROPPED]


def test_stale_ones_are_asked_again_and_the_questions_are_timed() -> None:
    replay = Replay(recording_of([arrival(n, n * 1_000) for n in range(10)], ASKING), ASKING)
    found = replay.under(5_000)
    assert found.count(State.ASKED) == 5
    assert found.questions_ms.tolist() == [NOW_MS + n * 100 for n in range(5, 10)]
    assert found.questions_a_second(1_000) == (5.0, 5)


def test_a_recorded_answer_counts_only_where_it_is_asked_for() -> None:
    first = arrival(1, 25_000)
    recording = recording_of([first], ASKING)
    asked_at_ms = first.gated_at_ms + 500
    body = successor("d-1", observed_at_ms=asked_at_ms - 100, value_minor=900)
    (_, command, output), *_ = through([Arrival(decision(1, observed_at_ms=asked_at_ms - 100), asked_at_ms)], TO_ALL)
    answer = {**orjson.loads(command), "decision_id": "d-1~2"}
    answer["source"] = {"topic": "t.successors", "partition": 0, "offset": 0}
    recording.add_answer(output, orjson.dumps(answer))
    recording.inputs.append(Input(("t.successors", 0, 0), asked_at_ms, True, b"acct-17", orjson.dumps(body), ()))
    replay = Replay(recording, ASKING)
    assert len(replay) == 1
    assert states(replay, 20_000) == [State.KEPT]
    assert len(replay.under(20_000).questions_ms) == 1
    assert states(replay, 26_000) == [State.KEPT]
    assert len(replay.under(26_000).questions_ms) == 0
    # without its answer on record it is open what would have come of it; when it came to nothing, it is lost
    recording.inputs.pop()
    assert states(Replay(recording, ASKING), 20_000) == [State.ASKED]
    vain = {"workflow": "billing", "kind": "followup", "reason": "reevaluation.timeout", "decision_id": "d-1"}
    recording.add_answer("exceptions", orjson.dumps(vain))
    assert states(Replay(recording, ASKING), 20_000) == [State.DROPPED]


def test_context_is_what_the_answers_say_was_seen() -> None:
    one = policy([ALL], budget="20s", context="any")
    arrivals = [arrival(n, 1_000, entity=f"a-{n}", context_version=7) for n in range(4)]
    recording = recording_of(arrivals, TO_ALL)  # commands, without a context seen
    places = list(recording.answers)
    recording.answers[places[1]] = recording.answers[places[1]]._replace(reason="stale.context")
    recording.answers[places[2]] = recording.answers[places[2]]._replace(context_seen=9)  # seen, and of no matter
    recording.answers[places[3]] = recording.answers[places[3]]._replace(context_seen=9, reason="stale.age")
    assert states(Replay(recording, one), 20_000) == [State.KEPT, State.DROPPED, State.KEPT, State.DROPPED]


def test_a_segment_with_a_budget_of_its_own_is_looked_at_by_itself() -> None:
    one = policy([ALL], budget="20s", segments={"fast": {"budget": "2s"}})
    recording = recording_of([arrival(1, 5_000, segment="fast"), arrival(2, 5_000)], one)
    assert len(Replay(recording, one)) == 1
    assert states(Replay(recording, one), 1_000) == [State.DROPPED]
    fast = Replay(recording, one, "fast")
    assert states(fast, 1_000) == [State.DROPPED]
    assert states(fast, 6_000) == [State.KEPT]


@pytest.mark.parametrize(("count", "expected_ms"), [(19, 500), (20, 1_900), (2_000, 4_000)])
def test_what_is_kept_back_is_measured_from_enough_receipts(count: int, expected_ms: int) -> None:
    measured = policy([ALL], budget="20s", allowance={"initial": "500ms", "at_most": "4s"})
    assert kept_back_ms(measured, [n * 100 + 100 for n in range(count)]) == expected_ms
    assert kept_back_ms(TO_ALL, [1_000] * 100) == 0


def test_outcomes_meet_their_commands_by_either_id_and_the_last_revision_counts() -> None:
    recording = recording_of([arrival(n, 1_000) for n in range(3)], TO_ALL)
    (first, second, third) = recording.answers.values()
    for one in (first, second, third):
        body = {"command_id": one.command_id, "workflow": "billing", "gated_at_ms": one.gated_at_ms}
        recording.add_receipt(orjson.dumps({**body, "started_at_ms": one.gated_at_ms + 40}))
    for name, value_minor, revision in (
        ({"command_id": first.command_id}, 900, 2),
        ({"command_id": first.command_id}, 1, 1),
        ({"decision_id": second.attempt_id}, 1_250, 1),
    ):
        recording.add_outcome(
            orjson.dumps({**name, "value_minor": value_minor, "currency": "USD", "revision": revision})
        )
    recording.add_outcome(orjson.dumps({"command_id": third.command_id, "value_minor": 5, "currency": "EUR"}))
    assert [(one.age_ms, one.promised_minor, one.realised_minor) for one in recording.acted()] == [
        (1_040, 1_250, 900),
        (1_040, 1_250, 1_250),
    ]


def test_nonsense_in_a_topic_is_left_out() -> None:
    recording = Recording("billing", 0, 1)
    for value in (None, b"", b"\xff", b"[]", b"{}", b'{"workflow":"billing"}', b'{"workflow":"other"}'):
        recording.add_answer("commands", value)
        recording.add_receipt(value)
        recording.add_outcome(value)
    assert recording.answers == {}
    assert recording.others == {"other"}
    assert recording.acted() == []


def replace_time(one: Arrival, later_ms: int) -> Arrival:
    return one._replace(gated_at_ms=one.gated_at_ms + later_ms)
