"""Inputs that were removed before they were read: each offset once, whoever tells of it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.audit.lost import Lost
from agents.audit.report import Result
from tests.agents.audit.records import DECISIONS, SUCCESSORS

AT = (DECISIONS, 0)


def told(offset: int, through: int, more: dict[str, Any] | None = None) -> dict[str, Any]:
    source = {"topic": DECISIONS, "partition": 0, "offset": offset, "through": through, **(more or {})}
    return {"reason": "lost.removed", "source": source}


def ranges(result: Result) -> list[tuple[Any, ...]]:
    return [tuple(one.values()) for one in result.lost_ranges]


def test_a_told_range_is_red_and_named() -> None:
    result = Result(inputs=5)
    Lost(result, DECISIONS).tells(told(3, 17), "x-1")
    assert not result.ok
    assert result.as_dict()["lost"] == 15
    assert result.verdict() == "the audit of 5 inputs found: lost 15 (t.decisions/0 3 to 17)"
    assert result.examples["lost"][0].id == "x-1"


@pytest.mark.parametrize("wrong", [{"through": None}, {"through": 2}, {"offset": "3"}, {"topic": 1}])
def test_what_is_no_range_tells_of_none(wrong: dict[str, Any]) -> None:
    result = Result()
    Lost(result, DECISIONS).tells(told(3, 17, wrong), "x-1")
    assert result.ok


@pytest.mark.parametrize(
    ("answered", "committed", "start", "whole", "lost"),
    [
        (9, 10, 10, False, []),  # retention took what was answered
        (9, 10, 25, False, [(10, 24)]),
        (None, 10, 25, False, [(10, 24)]),  # the answers are gone too; the group knows
        (19, 10, 25, False, [(20, 24)]),  # answered since the group was asked
        (9, None, 25, True, [(10, 24)]),
        (9, None, 25, False, []),  # answers were removed: nobody can know
        (None, None, 25, True, [(0, 24)]),
        (30, None, 25, True, []),
    ],
)
def test_what_was_removed_and_nobody_answered_is_found(
    answered: int | None, committed: int | None, start: int, whole: bool, lost: list[tuple[int, int]]
) -> None:
    result = Result()
    judged = Lost(result, DECISIONS)
    if answered is not None:
        judged.answers(AT, answered)
    judged.finish({AT: start}, None if committed is None else {AT: committed}, {0: whole})
    assert ranges(result) == [(*AT, *one) for one in lost]


def test_a_told_range_is_not_found_again_and_a_marker_behind_successors_is_no_loss() -> None:
    result = Result()
    judged = Lost(result, DECISIONS)
    judged.tells(told(3, 17), "x-1")
    judged.answers((SUCCESSORS, 0), 5)
    judged.finish({AT: 18, (SUCCESSORS, 0): 7}, None, {0: True})
    assert ranges(result) == [(*AT, 3, 17)]
    judged.finish({(SUCCESSORS, 0): 7}, {(SUCCESSORS, 0): 7}, {})
    assert result.findings["lost"] == 15
