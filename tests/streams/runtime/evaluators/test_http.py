"""An evaluator over HTTP: what goes out, when it is repeated, and how little is believed of what comes back."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from streams.reevaluation import Unanswered
from streams.runtime.evaluators.http import shown
from tests.streams.making import NOW_MS
from tests.streams.runtime.evaluators.endpoint import Endpoint
from tests.streams.runtime.evaluators.making import Counted, ask, evaluators_of

Make = Callable[..., Counted]


@pytest_asyncio.fixture
async def make(endpoint: Endpoint) -> AsyncIterator[Make]:
    made: list[Counted] = []

    def one(behaviour: str, **limits: Any) -> Counted:
        made.append(evaluators_of(url=f"{endpoint.base}/{behaviour}", **limits))
        return made[-1]

    yield one
    for evaluators in made:
        await evaluators.close()


async def test_a_question_says_its_id_and_its_deadline(make: Make, endpoint: Endpoint) -> None:
    await ask(make("right"))
    ((_, question, headers),) = endpoint.requests
    assert headers["Idempotency-Key"] == question["id"] == "d-1~2"
    assert headers["Sluicegate-Deadline-Ms"] == str(question["deadline_ms"]) == str(NOW_MS + 5_000)
    assert headers["Content-Type"] == "application/json"


async def test_an_id_that_a_header_cannot_hold_is_percent_encoded(make: Make, endpoint: Endpoint) -> None:
    await ask(make("right"), root_id='a b\r\nHost: evil%"ü/')
    ((_, question, headers),) = endpoint.requests
    assert headers["Idempotency-Key"] == "a%20b%0D%0AHost:%20evil%25%22%C3%BC/~2"
    assert question["id"] == 'a b\r\nHost: evil%"ü/~2'


@pytest.mark.parametrize("behaviour", ["busy_first", "resets_first"])
async def test_a_passing_fault_is_asked_once_more_under_the_same_key(
    make: Make, endpoint: Endpoint, behaviour: str
) -> None:
    assert json.loads(await ask(make(behaviour)))["id"] == "d-1~2"
    assert [headers["Idempotency-Key"] for _, _, headers in endpoint.requests] == ["d-1~2"] * 2


@pytest.mark.parametrize(
    ("behaviour", "attempts", "why"),
    [
        ("busy_always", 2, "status 503, twice"),
        ("resetting", 2, "broke off"),
        ("failing", 1, "status 500"),
        ("refusing", 1, "status 422"),
        ("moved", 1, "status 307; redirects are not followed"),
        ("zipped", 1, "content encoding 'gzip'"),
        ("huge", 1, "more than 262144 bytes"),
        ("endless", 1, "more than 262144 bytes"),
    ],
)
async def test_what_is_no_answer_is_named_and_not_repeated_in_vain(
    make: Make, endpoint: Endpoint, behaviour: str, attempts: int, why: str
) -> None:
    with pytest.raises(Unanswered, match=why) as raised:
        await ask(make(behaviour))
    assert not raised.value.late
    assert [path for path, _, _ in endpoint.requests] == [f"/{behaviour}"] * attempts


async def test_it_is_not_repeated_where_no_time_is_left_for_it(
    make: Make, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 3_600.0)
    with pytest.raises(Unanswered, match=r"status 503$"):
        await ask(make("busy_always"))
    assert endpoint.came("busy_always") == 1


async def test_the_endpoints_own_word_on_when_to_come_back_is_kept(make: Make, endpoint: Endpoint) -> None:
    with pytest.raises(Unanswered, match=r"status 429$"):
        await ask(make("busy_for_long"))
    assert endpoint.came("busy_for_long") == 1


@pytest.mark.parametrize("behaviour", ["hanging", "trickling"])
async def test_head_and_body_have_one_limit_of_time(make: Make, behaviour: str) -> None:
    with pytest.raises(Unanswered, match=r"within 0\.3 s") as why:
        await ask(make(behaviour), timeout_s=0.3)
    assert why.value.late


async def test_no_more_than_the_policy_allows_are_asked_at_once(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("slow", concurrency=3)
    await asyncio.gather(*(ask(evaluators, number) for number in range(9)))
    assert endpoint.busy_most == 3


async def test_a_mended_endpoint_is_found_by_the_probe_that_calls_wait_for(make: Make, endpoint: Endpoint) -> None:
    evaluators, endpoint.broken = make("mended"), True
    for number in range(5):
        with pytest.raises(Unanswered, match="status 500"):
            await ask(evaluators, number)
    with pytest.raises(Unanswered, match="breaker is open") as why:
        await ask(evaluators, timeout_s=0.1)
    assert not why.value.late
    assert endpoint.came("mended") == 5
    endpoint.broken = False
    said = await asyncio.gather(*(ask(evaluators, number) for number in range(10)))
    assert len(said) == 10
    assert evaluators.calls == {("billing", "failed"): 5, ("billing", "breaker_open"): 1, ("billing", "answered"): 10}


async def test_a_no_to_one_question_does_not_open_the_breaker(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("refusing")
    for number in range(8):
        with pytest.raises(Unanswered, match="status 422"):
            await ask(evaluators, number)
    assert endpoint.came("refusing") == 8


async def test_questions_with_hardly_any_time_say_nothing_about_the_endpoint(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("hanging", timeout="20s")
    for number in range(8):
        with pytest.raises(Unanswered, match="had not answered"):
            await ask(evaluators, number, timeout_s=0.1)
    assert endpoint.came("hanging") == 8


async def test_one_that_hangs_opens_the_breaker(make: Make, endpoint: Endpoint) -> None:
    evaluators = make("hanging", timeout="300ms")
    late = await asyncio.gather(
        *(ask(evaluators, number, timeout_s=0.3) for number in range(16)), return_exceptions=True
    )
    assert all(isinstance(one, Unanswered) for one in late)
    with pytest.raises(Unanswered, match="breaker is open"):
        await ask(evaluators, timeout_s=0.3)


async def test_an_address_that_cannot_be_one_is_a_reason_and_no_crash() -> None:
    for url in ("http://" + "a" * 70 + ".invalid/", "http://user:secret@[::1]:1/x?token=secret"):
        evaluators = evaluators_of(url=url)
        with pytest.raises(Unanswered) as why:
            await ask(evaluators, timeout_s=5)
        assert "secret" not in str(why.value)
        await evaluators.close()


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown("https://ana:pw@rater.example:8443/v1/ask?key=k#f") == "https://rater.example:8443/v1/ask"


async def test_nothing_can_be_checked_without_asking(make: Make) -> None:
    assert await make("failing").check() == []
