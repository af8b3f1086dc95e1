"""What can never have an effect, or is in the wrong unit, is refused: with path, found and expected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.policy import PolicyDocument
from streams.policy import compile_policy
from streams.rule_checks import SHADOWS_MAX
from streams.terms import Problem


def problems(boundary: dict[str, Any], review: dict[str, Any] | None = None) -> list[Problem]:
    head = {"workflow": "w", "version": 1, "freshness": {"budget": "10s"}, "boundary": boundary, "review": review or {}}
    return compile_policy(msgspec.convert(head, PolicyDocument), 0)[1]


@pytest.mark.parametrize(
    ("field", "condition"),
    [
        ("confidence", {"at_least": 0.9, "at_most": 0.1}),
        ("confidence", {"over": 0.5, "at_most": 0.5}),
        ("confidence", {"at_least": 0.5, "under": 0.5}),
        ("confidence", {"over": 1}),
        ("confidence", {"at_least": 80}),
        ("confidence", {"under": 0}),
        ("value_minor", {"over": 5, "under": 5, "currency": "USD"}),
        ("value_minor", {"over": 2**53, "currency": "USD"}),
        ("segment", {"equals": "a", "not_in": ["a"]}),
        ("segment", {"equals": "a", "in": ["b"]}),
        ("segment", {"in": ["a", "b"], "not_in": ["b", "a"]}),
        ("segment", {"in": []}),
        ("attributes.a", {"equals": "5", "at_least": 1}),
        ("attributes.a", {"in": [1, 2], "over": 2}),
    ],
)
def test_a_condition_that_nothing_meets(field: str, condition: dict[str, Any]) -> None:
    (found,) = problems({"rules": [{"name": "r", "then": "block", "when": {field: condition}}]})
    assert found.path.startswith(f"boundary.rules[0].when.{field}") and found.found and found.expected


@pytest.mark.parametrize(
    ("when", "limits", "path"),
    [
        ({"value_minor": {"over": 5, "currency": "EUR"}}, {"value_minor_at_most": 9, "currency": "USD"}, "currency"),
        (
            {"value_minor": {"over": 9, "currency": "USD"}},
            {"value_minor_at_most": 5, "currency": "USD"},
            "value_minor_at_most",
        ),
        ({"confidence": {"under": 0.5}}, {"confidence_at_least": 0.6}, "confidence_at_least"),
        ({"reversible": {"equals": False}}, {"reversible": True}, "reversible"),
        ({}, {"value_minor_at_most": 5, "currency": "usd"}, "currency"),
    ],
)
def test_limits_that_contradict_their_rule(when: dict[str, Any], limits: dict[str, Any], path: str) -> None:
    (found,) = problems({"rules": [{"name": "r", "then": "autonomous", "when": when, "limits": limits}]})
    assert found.path == f"boundary.rules[0].limits.{path}"


def test_a_rule_after_a_catch_all_and_too_many_shadows() -> None:
    last = {"name": "last", "then": "escalate"}
    after = [last, {"name": "no", "then": "block"}, {"name": "shade", "then": "block", "shadow": True}]
    assert problems({"rules": after}) == []
    (found,) = problems({"rules": [last, {"name": "r", "then": "autonomous"}]})
    assert found.path == "boundary.rules[1]" and "after rules[0]" in found.found
    many = [{"name": f"s{number}", "then": "block", "shadow": True} for number in range(SHADOWS_MAX + 1)]
    assert [one.path for one in problems({"rules": many})] == ["boundary.rules"]


@pytest.mark.parametrize(
    ("exposure", "path"),
    [
        ({"window": "1h"}, ""),
        ({"window": "1h", "count_at_most": 1, "value_minor_at_most": 1, "currency": "USD"}, ""),
        ({"window": "1h", "value_minor_at_most": 1}, ".currency"),
        ({"window": "1h", "count_at_most": 1, "currency": "USD"}, ".currency"),
        ({"window": "1h", "value_minor_at_most": 1, "currency": "usd"}, ".currency"),
        ({"window": "999ms", "count_at_most": 1}, ".window"),
        ({"window": "32d", "count_at_most": 1}, ".window"),
        ({"window": "3600", "count_at_most": 1}, ".window"),
        ({"window": "1h", "count_at_most": 1, "per": ["entity", "entity"]}, ".per"),
    ],
)
def test_exposure_limits(exposure: dict[str, Any], path: str) -> None:
    (found,) = problems({"exposure": [{"name": "e", **exposure}]})
    assert found.path == f"boundary.exposure[0]{path}"
    twice = [{"name": "e", "window": "31d", "count_at_most": 0}] * 2
    assert [one.path for one in problems({"exposure": twice})] == ["boundary.exposure[1].name"]


@pytest.mark.parametrize(
    ("review", "path"),
    [
        ({"sla": "0s"}, "review.sla"),
        ({"sla": "8d"}, "review.sla"),
        ({"sla": "60"}, "review.sla"),
        ({"approvers": [{"role": "a", "value_minor_at_most": 5}]}, "review.approvers[0].currency"),
        ({"approvers": [{"role": "a"}, {"role": "a"}]}, "review.approvers[1].role"),
    ],
)
def test_review_terms(review: dict[str, Any], path: str) -> None:
    assert [one.path for one in problems({}, review)] == [path]
