"""What no policy decides stays as it was: halts and shedding; and an attempt is there only where it was asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson

from agents.backtest.answers import Answers
from agents.backtest.batches import Event, Part, Recorded
from agents.backtest.replay import Comparison, Side, World
from schemas.published import Halt, Scope
from streams.backtest import ABSENT, Tally, matrix
from streams.batch import Fetched, Input
from streams.halts import NO_HALTS, Halts
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy
from tests.streams.making import NOW_MS, TOPIC, decision, policy, successor

ALL = {"name": "all", "then": "autonomous"}
WORLD = World({"decisions": TOPIC["decisions"], "successors": TOPIC["successors"]}, 1, {})
HALTED = Halts({Scope(segment="bad"): Halt(True, "why", "ana", 0)})


def recorded(
    bodies: list[dict[str, Any]],
    one: Policy,
    halts: Halts = NO_HALTS,
    name: Input = "decisions",
    commit_ms: int = 0,
) -> Recorded:
    """A batch and its answers, as a gate would have left them."""
    values = [orjson.dumps(body) for body in bodies]
    keys: list[bytes | None] = [body["entity"].encode() for body in bodies]
    places, times_ms = list(range(len(bodies))), [NOW_MS] * len(bodies)
    fetched = Fetched(TOPIC[name], name, 0, places, times_ms, keys, [*values], True, NOW_MS)
    memory = Memory()
    memory.commit_ms = commit_ms
    decided = decide([fetched], NOW_MS, Snapshot([one]).under(halts), memory)
    events, reader = list[Event](), Answers()
    for at, sent in enumerate(decided.records):
        answer = reader.read(sent.output, sent.value, at)
        assert answer is not None
        record = SimpleNamespace(
            offset=at, timestamp=NOW_MS, timestamp_type=1, key=keys[at], value=values[at], headers=()
        )
        events.append(Event(record, answer))
    return Recorded(NOW_MS, [Part(name, events)])


def compared(candidate: Policy, *batches: Recorded) -> Tally:
    comparison = Comparison(Side([candidate], 0, WORLD), None, 0, 1)
    for batch in batches:
        comparison.take(batch)
    return comparison.finish()


def cells(tally: Tally) -> dict[tuple[str, str], int]:
    return {pair: one.count for pair, one in matrix(tally.cells, 0).items()}


def test_what_was_halted_stays_so_and_nothing_else_is() -> None:
    one = policy([ALL])
    bodies = [decision(n, segment="bad" if n % 2 else "good") for n in range(6)]
    found = compared(one, recorded(bodies, one, HALTED))
    assert found.changed == 0
    assert cells(found) == {("command", "command"): 3, ("halted", "halted"): 3}


def test_one_that_was_stale_then_and_is_not_now_is_halted_with_its_like() -> None:
    strict, loose = policy([ALL], budget="1s"), policy([ALL], budget="10m")
    late = decision(1, segment="bad", observed_at_ms=NOW_MS - 2_000)
    fresh = decision(2, segment="bad", observed_at_ms=NOW_MS - 10)
    found = compared(loose, recorded([late, fresh], strict, HALTED))
    assert cells(found) == {("stale", "halted"): 1, ("halted", "halted"): 1}


def test_what_was_shed_stays_so_and_is_not_remembered() -> None:
    one = policy([ALL])
    batch = recorded([decision(1)], one)
    answer = batch.parts[0].events[0].answer
    answer.shape = answer.shape._replace(output="exceptions", reason="shed.overload", rule=None)
    found = compared(policy([]), batch, recorded([decision(1)], one))
    assert cells(found) == {("command", "review"): 1, ("shed", "shed"): 1}


def test_an_attempt_is_there_only_where_what_it_follows_came_out_as_it_did() -> None:
    asking = policy([ALL], evaluator={"url": "http://127.0.0.1:9"}, budget="20s", total="10m", on_stale="reevaluate")
    patient = policy([ALL], evaluator={"url": "http://127.0.0.1:9"}, budget="1m", total="10m", on_stale="reevaluate")
    first = recorded([decision(1, observed_at_ms=NOW_MS - 30_000)], asking)
    second = recorded([successor("d-1")], asking, name="successors")
    assert cells(compared(asking, first, second)) == {("command", "command"): 1, ("reevaluation", "reevaluation"): 1}
    assert cells(compared(patient, first, second)) == {("command", ABSENT): 1, ("reevaluation", "command"): 1}


def test_what_a_transaction_kept_back_is_kept_back_again() -> None:
    """Of the batch that says so, and of no other."""
    one = policy([ALL])
    bodies = [decision(1, expires_at_ms=NOW_MS + 40), decision(2)]
    busy = recorded(bodies, one, commit_ms=60)
    quick = recorded([{**body, "id": f"{body['id']}-quick"} for body in bodies], one)
    found = compared(one, busy, quick)
    assert found.changed == 0
    assert cells(found) == {("stale", "stale"): 1, ("command", "command"): 3}


def test_values_are_summed_as_magnitudes_by_currency() -> None:
    bodies = [decision(1, value_minor=-500), decision(2, value_minor=300, currency="EUR"), decision(3, value_minor=200)]
    found = matrix(compared(policy([]), recorded(bodies, policy([ALL]))).cells, 5)["command", "review"]
    assert (found.count, found.value_minor) == (3, {"EUR": 300, "USD": 700})
    assert [one.decision_id for one in found.examples] == ["d-1", "d-2"]
