"""A policy that compiles cannot fail later; what is wrong is told with path, found and expected."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.policy import PolicyDocument
from schemas.topics import RETENTION_MS
from streams.fields import kind_of
from streams.policy import compile_policy
from streams.terms import Problem, duration_ms
from tests.streams.making import policy


def problems(rules: list[dict[str, Any]] | None = None, **freshness: Any) -> list[Problem]:
    document = msgspec.convert(
        {
            "workflow": "w",
            "version": 1,
            "freshness": {"budget": "10s", **freshness},
            "boundary": {"rules": rules or []},
        },
        PolicyDocument,
    )
    made, found = compile_policy(document, 0)
    assert (made is None) is bool(found)
    return found


def when(field: str, **condition: Any) -> list[Problem]:
    return problems([{"name": "r", "then": "block", "when": {field: condition}}])


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [
        ("250ms", 250),
        ("90s", 90_000),
        ("10m", 600_000),
        ("1h30m", 5_400_000),
        ("2d", 172_800_000),
        ("0s", 0),
        ("1h30", None),
        ("10", None),
        ("", None),
        ("-5s", None),
        ("5 s", None),
        ("1.5h", None),
        ("5S", None),
        ("s", None),
        ("5s\n", None),
    ],
)
def test_a_duration_is_numbers_with_their_units(text: str, length_ms: int | None) -> None:
    assert duration_ms(text) == length_ms


def test_a_policy_is_named_and_its_rules_sorted_by_what_they_do() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "a", "then": "block"},
        {"name": "b", "then": "escalate", "when": {"segment": {"equals": "s"}}},
        {"name": "c", "then": "autonomous"},
    ]
    made = policy(rules, total="30m", skew_tolerance="0s")
    assert (made.name, made.workflow, made.index) == ("billing@3", "billing", 0)
    assert (made.freshness.own.budget_ms, made.freshness.total_ms, made.freshness.skew_tolerance_ms) == (
        600_000,
        1_800_000,
        0,
    )
    assert [rule.name for rule in made.rules] == ["b", "c"]
    assert [rule.name for rule in made.blocks] == ["a"]


def test_the_total_is_the_budget_and_the_tolerance_two_seconds_unless_said() -> None:
    made = policy()
    assert (made.freshness.total_ms, made.freshness.skew_tolerance_ms) == (made.freshness.own.budget_ms, 2_000)


UNIT = "a length of time with its unit, such as 250ms, 90s, 10m or 1h30m"


@pytest.mark.parametrize(
    ("freshness", "problem"),
    [
        ({"budget": "10"}, ("freshness.budget", "'10'", UNIT)),
        ({"budget": "-5s"}, ("freshness.budget", "'-5s'", UNIT)),
        ({"budget": "0s"}, ("freshness.budget", "'0s'", "more than nothing: with no budget every decision is stale")),
        ({"budget": "8d"}, ("freshness.budget", "'8d'", "at most 7d: topics keep records for so long")),
        ({"total": "9s"}, ("freshness.total", "9s", "at least the budget, 10s")),
        ({"total": "soon"}, ("freshness.total", "'soon'", UNIT)),
        ({"skew_tolerance": "2"}, ("freshness.skew_tolerance", "'2'", UNIT)),
    ],
)
def test_freshness_faults(freshness: dict[str, Any], problem: tuple[str, str, str]) -> None:
    assert problems(**freshness) == [Problem(*problem)]


def test_nothing_is_waited_for_longer_than_topics_keep_it() -> None:
    assert problems(budget="7d") == []
    assert duration_ms("7d") == RETENTION_MS
    (found,) = problems(budget="169h")
    assert (found.path, found.found) == ("freshness.budget", "'169h'")
    assert found.expected.startswith("at most 7d")


def test_all_faults_of_a_document_are_told_at_once() -> None:
    rules: list[dict[str, Any]] = [
        {"name": "r", "then": "block", "when": {"colour": {"equals": "red"}}},
        {"name": "r", "then": "block"},
    ]
    assert [problem.path for problem in problems(rules, budget="x", total="y")] == [
        "freshness.budget",
        "freshness.total",
        "boundary.rules[0].when.colour",
        "boundary.rules[1].name",
    ]


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("value_minor", "number"),
        ("confidence", "number"),
        ("reversible", "flag"),
        ("segment", "text"),
        ("action_type", "text"),
        ("attributes.vendor", "attribute"),
        ("attributes.", None),
        ("attributes", None),
        ("id", None),
        ("currency", None),
    ],
)
def test_the_fields_that_a_rule_may_name(field: str, kind: str | None) -> None:
    assert kind_of(field) == kind


AT = "boundary.rules[0].when"


@pytest.mark.parametrize(
    ("field", "condition", "path", "found"),
    [
        ("colour", {"equals": "red"}, "colour", "'colour'"),
        ("segment", {}, "segment", "no test"),
        ("value_minor", {"currency": "USD"}, "value_minor", "no test"),
        ("segment", {"over": 5}, "segment.over", "5"),
        ("reversible", {"at_most": 1}, "reversible.at_most", "1"),
        ("segment", {"equals": 5}, "segment", "5"),
        ("segment", {"in": ["a", True]}, "segment", "True"),
        ("confidence", {"equals": "high"}, "confidence", "'high'"),
        ("confidence", {"equals": True}, "confidence", "True"),
        ("confidence", {"not_in": [0.5, False]}, "confidence", "False"),
        ("reversible", {"equals": 1}, "reversible", "1"),
        ("reversible", {"equals": "true"}, "reversible", "'true'"),
        ("value_minor", {"over": 5}, "value_minor.currency", "nothing"),
        ("confidence", {"over": 0.5, "currency": "USD"}, "confidence.currency", "'USD'"),
        ("attributes.a", {"over": float("nan")}, "attributes.a", "nan"),
        ("attributes.a", {"over": float("inf")}, "attributes.a", "inf"),
        ("attributes.a", {"over": 10**400}, "attributes.a", "1" + "0" * 39),
        ("attributes.a", {"in": [1, 10**400]}, "attributes.a", "1" + "0" * 39),
        ("attributes.a", {"equals": float("nan")}, "attributes.a", "nan"),
    ],
)
def test_condition_faults(field: str, condition: dict[str, Any], path: str, found: str) -> None:
    (problem,) = when(field, **condition)
    assert (problem.path, problem.found) == (f"{AT}.{path}", found)
    assert problem.expected


@pytest.mark.parametrize(
    ("field", "condition"),
    [
        ("segment", {"equals": "no"}),
        ("reversible", {"equals": False}),
        ("confidence", {"at_least": 0, "under": 1}),
        ("value_minor", {"equals": -5, "currency": "USD"}),
        ("attributes.a", {"in": ["1", 1, True, 1.5]}),
        ("attributes.a", {"at_least": -1e300}),
    ],
)
def test_conditions_that_are_right(field: str, condition: dict[str, Any]) -> None:
    assert when(field, **condition) == []


@pytest.mark.parametrize(
    ("then", "limits", "problem"),
    [
        ("escalate", {"confidence_at_least": 0.5}, ("limits", "limits on a rule that says escalate")),
        ("block", {"reversible": True}, ("limits", "limits on a rule that says block")),
        ("autonomous", {}, ("limits", "no limit")),
        ("autonomous", {"value_minor_at_most": 5}, ("limits.currency", "nothing")),
        ("autonomous", {"currency": "USD"}, ("limits.value_minor_at_most", "nothing")),
    ],
)
def test_limit_faults(then: str, limits: dict[str, Any], problem: tuple[str, str]) -> None:
    (found,) = problems([{"name": "r", "then": then, "limits": limits}])
    assert (found.path, found.found) == (f"boundary.rules[0].{problem[0]}", problem[1])


def test_a_rule_of_the_same_name_is_a_fault() -> None:
    rules = [{"name": "r", "then": "block"}, {"name": "s", "then": "block"}, {"name": "r", "then": "escalate"}]
    assert problems(rules) == [
        Problem("boundary.rules[2].name", "'r'", "a name of its own, not that of rules[0]"),
    ]
