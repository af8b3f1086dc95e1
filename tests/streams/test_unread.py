"""A range of offsets that holds no readable record gets one answer, which names the range."""

from __future__ import annotations

from dataclasses import replace

import orjson

from streams.batch import Fetched, Input, Unread
from streams.headers import DEFAULTS
from streams.reevaluation import pending, sent_exception
from streams.requests import Ended
from tests.streams.making import NOW_MS, decided, decision, fetched, outcomes
from tests.streams.reviewing import Desk, records

RANGE = {"partition": 2, "offset": 7, "through": 19}
LOST = Unread("lost.removed", 19, "offsets 7 to 19 were removed before they were read")


def unread(source: Input) -> Fetched:
    return replace(records(source, b"", at=7), keys=[None], values=[None], headers=None, unread={7: LOST})


def test_the_gate_answers_with_one_exception_between_its_neighbours() -> None:
    mixed = fetched([decision(1), None, decision(2)], keys=[b"acct-17", None, b"acct-17"], first_offset=6)
    found = decided(replace(mixed, offsets=[6, 7, 20], unread={7: LOST}))
    assert outcomes(found) == ["commands", "lost.removed", "commands"]
    told = orjson.loads(found.records[1].value)
    assert told["source"] == {"topic": "t.decisions", **RANGE}
    assert (told["detail"], told["decision"], told["raw"], told["raw_bytes"]) == (LOST.detail, None, None, 0)
    assert "through" not in orjson.loads(found.records[0].value)["source"]


def test_a_request_to_ask_again_that_is_lost_ends_as_an_exception() -> None:
    batch = unread("reevaluations")
    ended = pending(batch, 0, {}, NOW_MS)
    assert isinstance(ended, Ended)
    sent, _ = sent_exception(batch, 0, ended, {}, NOW_MS, DEFAULTS)
    told = orjson.loads(sent.value)
    assert (sent.output, told["reason"]) == ("exceptions", "lost.removed")
    assert told["source"] == told["caused_by"] == {"topic": "t.reevaluations", **RANGE}


def test_reviews_and_verdicts_that_are_lost_are_rejected_by_range() -> None:
    desk = Desk()
    for source in ("reviews", "verdicts"):
        (told,) = desk.step(unread(source))
        assert (told["output"], told["reason"]) == ("rejections", "lost.removed")
        assert told["source"] == {"topic": f"t.{source}", **RANGE}
