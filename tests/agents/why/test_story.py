"""The story of a decision, from recorded examples: the order, who did what and why, and how it stands."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from agents.why.found import Found
from agents.why.read import ESCAPE, needles
from agents.why.story import Story, stories
from schemas.examples import COMMAND, DECISION, EXCEPTION, RECEIPT, REVIEW
from tests.agents.why.recorded import (
    DEADLINE_MS,
    GATED_MS,
    asked_again,
    autonomous,
    blocked,
    found,
    place,
    proposed,
    reviewed,
)


def told(records: list[Found], now_ms: int = GATED_MS + 10_000) -> Story:
    (story,) = stories(records, now_ms)
    return story


def kinds(story: Story) -> list[str]:
    return [entry.found.kind for entry in story.entries]


def test_an_autonomous_one_from_proposal_to_money() -> None:
    story = told(autonomous())
    assert (story.root_id, story.workflow, story.entity) == ("d-7f3a", "billing", "acct-17")
    assert kinds(story) == ["decisions", "commands", "receipts", "outcomes"]
    first, command, receipt, outcome = [entry.told for entry in story.entries]
    assert first.what == "proposes invoice.post, 1,250.50 USD"
    assert first.who == "rater@2026-11-01 by rating-service"
    assert "context version 41" in first.more[0]
    assert command.who == "the gate under billing@3, rule small-and-sure"
    assert command.why == "within_bounds: fresh, and inside the limits of the rule that decided"
    assert command.more[0].startswith("age 163 ms: inference 120 ms, producer 30 ms, transport 4 ms, queue 7 ms, gate")
    assert (receipt.who, receipt.what) == ("executor erp-2", "executed")
    assert outcome.what == "realised 1,180.00 USD, final, revision 1"
    assert story.conclusion == "executed at 2025-11-24 16:00:00.183Z, 10 min before its deadline; realised 1,180.00 USD"


def test_a_reviewed_one_with_a_refused_verdict() -> None:
    story = told(reviewed())
    assert kinds(story) == ["decisions", "reviews", "verdicts", "rejections", "verdicts", "commands"]
    _, asked, eve, refused, ana, command = [entry.told for entry in story.entries]
    assert asked.why == "value_over_limit: the value is over the rule's limit"
    assert f"action {REVIEW.action_digest}" in asked.more
    assert (eve.what, eve.who) == ("approve: refused: verdict.by", "eve, signed with the key k1")
    assert refused.why == "verdict.by: the key 'k1' may not speak for 'eve'"
    assert (ana.what, ana.why) == ("approve: accepted", "called them")
    assert command.who.startswith("the reviews agent under billing@3")
    assert story.conclusion.startswith("commanded, may be started until 2025-11-24 16:10:00.000Z; no executor")
    assert "its deadline passed" in told(reviewed(), DEADLINE_MS).conclusion


def test_one_that_was_asked_about_again() -> None:
    story = told(asked_again())
    assert kinds(story) == ["decisions", "reevaluations", "successors", "commands"]
    again = story.entries[1].told
    assert again.what.startswith("asks the evaluator again after attempt 1, until 2025-11-24 16:30:00.000Z")
    assert again.why == "stale.age: observed 700000 ms ago; the budget is 600000 ms"
    assert story.entries[2].told.what.startswith("attempt 2: proposes invoice.post, 1,253.00 USD")
    assert "attempt 2" in story.entries[3].told.more[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("example", [autonomous, reviewed, asked_again, blocked])
def test_the_order_of_reading_does_not_matter(example: Any, seed: int) -> None:
    records = example()
    whole = told(records)
    random.Random(seed).shuffle(records)
    assert told(records) == whole


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (blocked(), "nothing was done: boundary.blocked at 2025-11-24 16:00:00.165Z, rule disputed of billing@3"),
        ([proposed()], "waits for the gate"),
        (asked_again()[2:], "waits for its evaluator until 2025-11-24 16:30:00.000Z, 30 min"),
        (reviewed()[2:], "waits for a person until 2025-11-24 16:10:00.000Z, 10 min"),
        ([found("commands", 5, GATED_MS + 3, COMMAND)], "commanded, may be started until"),
        (
            [*autonomous()[2:], found("receipts", 1, GATED_MS, replace(RECEIPT, status="unknown", detail="killed"))],
            "commanded, and unknown by its executor",
        ),
    ],
)
def test_the_conclusion_says_how_it_stands(records: list[Found], said: str) -> None:
    assert said in told(records).conclusion


def test_a_review_that_ended_without_an_answer_waits_for_nobody() -> None:
    ended = replace(EXCEPTION, kind="followup", reason="review.expired", stage="review", caused_by=place("reviews", 4))
    story = told([*reviewed()[4:], found("exceptions", 3, DEADLINE_MS, ended)], DEADLINE_MS + 5)
    assert story.conclusion.startswith("nothing was done: review.expired")
    assert story.entries[-1].told.who.startswith("the reviews agent")


def test_a_repeated_decision_does_not_change_how_it_stands() -> None:
    repeat = found("decisions", 9999, GATED_MS + 50, DECISION)
    source = place("decisions", 9999)
    answer = found("exceptions", 7, GATED_MS + 52, replace(EXCEPTION, reason="duplicate.repeat", source=source))
    story = told([*blocked(), repeat, answer])
    assert story.conclusion.startswith("nothing was done: boundary.blocked")
    assert len(story.entries) == 4


def test_one_id_of_two_entities_is_two_stories() -> None:
    other = replace(DECISION, entity="acct-18")
    made = stories([*autonomous(), found("decisions", 12, GATED_MS, other)], GATED_MS)
    assert [story.entity for story in made] == ["acct-17", "acct-18"]
    assert kinds(made[1]) == ["decisions"]


def test_input_that_is_no_decision_is_told_with_its_bytes_place() -> None:
    lost = replace(EXCEPTION, decision_id=None, workflow=None, entity=None, reason="invalid.json", stage="ingest")
    story = told([found("exceptions", 3, GATED_MS, lost), found("decisions", place("decisions", 9917).offset, 1, {})])
    assert story.root_id == "(unreadable input)"
    assert "invalid.json" in story.conclusion


def test_ids_are_found_however_their_producer_spells_json() -> None:
    assert needles(["a/ü"]) == ["a/ü".encode(), "a\\/ü".encode(), ESCAPE]
    assert needles(["d-1"]) == [b"d-1", ESCAPE]
