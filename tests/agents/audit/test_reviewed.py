"""Reviews in the audit: each rule broken by hand, and green when it holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from tests.agents.audit.records import DEADLINE_MS, Rec, command, decision, exception, found, judged, request, review

GIVEN = decision(0)


def said(record: Rec, **fields: Any) -> Rec:
    """The same with these fields; those that are new stand at the end."""
    value = record.value or b""
    there = {name: one for name, one in fields.items() if name in orjson.loads(value)}
    new = {name: one for name, one in fields.items() if name not in there}
    changed = record.changed(**there).value or b""
    return replace(record, value=changed[:-1] + b"," + orjson.dumps(new)[1:] if new else changed)


OPENED = said(review(GIVEN), deadline_ms=DEADLINE_MS + 9)


def identifier() -> str:
    name: str = orjson.loads(OPENED.value or b"")["review_id"]
    return name


def issued(offset: int = 1, **fields: Any) -> Rec:
    about = {"kind": "followup", "authority": "reviewed", "review_id": identifier(), "deadline_ms": DEADLINE_MS}
    return said(command(GIVEN, offset), **about | fields)


def ended(offset: int = 1, **fields: Any) -> Rec:
    return said(exception(GIVEN, "review.rejected", offset), **{"kind": "followup", "stage": "review"} | fields)


def asked(offset: int = 1) -> Rec:
    return request(GIVEN, offset).changed(kind="followup")


@pytest.mark.parametrize("ending", [issued(), ended(), ended(2)])
def test_a_review_and_its_ending_are_clean(ending: Rec) -> None:
    result = judged([GIVEN], [OPENED, ending])
    assert found(result) == {}
    assert result.followups == 1


@pytest.mark.parametrize("second", [ended(2), replace(asked(2), topic="t.reevaluations")])
def test_a_second_ending_of_a_review_is_found(second: Rec) -> None:
    result = judged([GIVEN], [second, OPENED, issued()], answering={})
    assert result.findings["ended_twice"] == 1
    assert result.examples["ended_twice"][0].wrong == "the review of t.decisions/0/0 has ended before"


def test_what_happens_to_its_command_is_no_second_ending() -> None:
    failed = said(exception(GIVEN, "execution.failed", 2), kind="followup", stage="execution")
    assert found(judged([GIVEN], [OPENED, issued(), failed])) == {}


def test_a_reviewed_command_without_its_review_is_found() -> None:
    other = decision(1)
    stray = issued(5, source={"topic": "t.decisions", "partition": 0, "offset": 7})
    for outputs in ([exception(GIVEN), stray], [OPENED, issued(review_id="r-0-other")]):
        result = judged([GIVEN], outputs)
        assert found(result) == {"unexplained": 1}
        assert result.examples["unexplained"][0].wrong.startswith("no review with its review_id was opened for ")
    assert found(judged([GIVEN, other], [OPENED, issued(), exception(other)])) == {}


def test_a_reviewed_command_past_the_end_of_its_review_is_found() -> None:
    result = judged([GIVEN], [OPENED, issued(deadline_ms=DEADLINE_MS + 10)])
    assert found(result) == {"unexplained": 1}
    assert "is past that of its review" in result.examples["unexplained"][0].wrong
    assert (
        found(judged([GIVEN], [said(OPENED, final_deadline_ms=DEADLINE_MS + 10), issued(deadline_ms=DEADLINE_MS + 10)]))
        == {}
    )
