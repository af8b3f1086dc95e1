"""What holds for every evaluator, asked over HTTP or in a process of its own."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from schemas.decision import Successor
from streams.batch import Refused
from streams.reevaluation import Unanswered, successor
from tests.streams.making import NOW_MS
from tests.streams.runtime.evaluators.endpoint import Endpoint
from tests.streams.runtime.evaluators.making import FUNCTIONS, Counted, ask, evaluators_of, pending

Make = Callable[..., Counted]


@pytest_asyncio.fixture(params=["http", "child"])
async def make(request: pytest.FixtureRequest, endpoint: Endpoint) -> AsyncIterator[Make]:
    """Makes evaluators that behave as named; ended with the test."""
    made: list[Counted] = []

    def one(behaviour: str, **limits: Any) -> Counted:
        if request.param == "http":
            where = {"url": dead_url() if behaviour == "dead" else f"{endpoint.base}/{HTTP.get(behaviour, behaviour)}"}
        elif behaviour == "dead":
            where = {"function": f"{FUNCTIONS}:right", "interpreter": "/nowhere/python"}
        else:
            where = {"function": f"{FUNCTIONS}:{behaviour}"}
        made.append(evaluators_of(**where, **limits))
        return made[-1]

    yield one
    for evaluators in made:
        await evaluators.close()


HTTP = {"crashing": "resetting", "crashes_first": "resets_first"}


def dead_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


@pytest.mark.parametrize("behaviour", ["right", "slow"])
async def test_an_answer_in_time_is_handed_on_and_makes_a_successor(make: Make, behaviour: str) -> None:
    evaluators = make(behaviour)
    said = await ask(evaluators)
    assert json.loads(said)["id"] == "d-1~2"
    assert isinstance(successor(pending(), said, None, NOW_MS + 5_000), Successor)
    assert evaluators.calls == Counter({("billing", "answered"): 1})
    assert evaluators.busy["billing"] == 0


@pytest.mark.parametrize("behaviour", ["dead", "failing", "huge", "crashing"])
async def test_no_answer_is_said_in_a_sentence(make: Make, behaviour: str) -> None:
    evaluators = make(behaviour)
    with pytest.raises(Unanswered) as why:
        await ask(evaluators)
    assert not why.value.late
    assert 20 < len(str(why.value)) < 600
    assert evaluators.calls == Counter({("billing", "failed"): 1})


async def test_what_is_no_answer_ends_as_a_refusal(make: Make) -> None:
    (found,) = await asyncio.gather(ask(make("wrong")), return_exceptions=True)
    if isinstance(found, bytes):
        refused = successor(pending(), found, None, NOW_MS)
        assert isinstance(refused, Refused) and refused.reason == "reevaluation.failed"
    else:
        assert isinstance(found, Unanswered) and not found.late


async def test_one_that_hangs_is_late_and_not_waited_for(make: Make) -> None:
    evaluators = make("hanging", timeout="300ms")
    with pytest.raises(Unanswered) as why:
        await asyncio.wait_for(ask(evaluators, timeout_s=0.3), 20)
    assert why.value.late
    assert evaluators.calls == Counter({("billing", "timeout"): 1})


async def test_a_question_whose_time_is_over_is_not_asked(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("right")
    for timeout_s in (0.0, -1.0):
        with pytest.raises(Unanswered) as why:
            await ask(evaluators, timeout_s=timeout_s)
        assert why.value.late
    assert endpoint.requests == []


async def test_a_passing_fault_leaves_the_next_call_its_answer(make: Make) -> None:
    evaluators = make("crashes_first")
    try:
        said = await ask(evaluators)
    except Unanswered:
        said = await ask(evaluators)
    assert json.loads(said)["id"] == "d-1~2"


async def test_many_are_asked_at_once_and_each_gets_its_own_answer(make: Make) -> None:
    evaluators = make("slow", concurrency=8)
    said = await asyncio.gather(*(ask(evaluators, number) for number in range(30)))
    assert [json.loads(one)["id"] for one in said] == [f"d-{number}~2" for number in range(30)]


async def test_the_wait_for_a_slot_counts(make: Make) -> None:
    evaluators = make("hanging", concurrency=1)
    first = asyncio.create_task(ask(evaluators, timeout_s=5))
    await asyncio.sleep(0)
    with pytest.raises(Unanswered, match="as many as its policy allows") as why:
        await ask(evaluators, 2, timeout_s=0.2)
    assert why.value.late
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_a_cancelled_call_leaves_nothing_behind(make: Make) -> None:
    evaluators = make("slow", concurrency=1)
    await ask(evaluators)
    for number in range(3):
        task = asyncio.create_task(ask(evaluators, number))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await ask(evaluators)
    assert evaluators.calls == Counter({("billing", "answered"): 2})
    assert evaluators.busy["billing"] == 0


async def test_closing_ends_the_calls_under_way(make: Make) -> None:
    evaluators = make("hanging")
    calls = [asyncio.create_task(ask(evaluators, number)) for number in range(3)]
    await asyncio.sleep(0.3)
    await evaluators.close()
    found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)
    assert [isinstance(one, Unanswered) for one in found] == [True] * 3


async def test_while_the_breaker_is_open_the_evaluator_is_left_alone(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("dead")
    for number in range(5):
        with pytest.raises(Unanswered):
            await ask(evaluators, number, timeout_s=0.5)
    with pytest.raises(Unanswered, match="breaker is open") as why:
        await ask(evaluators, timeout_s=0.2)
    assert not why.value.late
    assert evaluators.calls["billing", "breaker_open"] >= 1
