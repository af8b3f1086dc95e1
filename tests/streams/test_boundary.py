"""The boundary: the default is not autonomous, and what is not known is not guessed."""

from __future__ import annotations

from typing import Any

import pytest

from streams.boundary import bound
from tests.streams.making import SMALL_AND_SURE, decided, decision, fetched, only, outcomes, policy


def told(rules: list[dict[str, Any]], **fields: Any) -> str:
    """What becomes of one decision: `rule: commands`, `rule: reviews: reasons` or `rule: boundary.blocked`."""
    found = decided(fetched([decision(**fields)]), [policy(rules)])
    return f"{only(found).get('rule')}: {outcomes(found)[0]}"


def rule(name: str, then: str = "autonomous", limits: dict[str, Any] | None = None, **when: Any) -> dict[str, Any]:
    """`when` names fields with `__` for the dot."""
    named = {field.replace("__", "."): condition for field, condition in when.items()}
    return {"name": name, "then": then, "when": named, **({"limits": limits} if limits else {})}


def test_without_a_rule_that_matches_a_person_decides() -> None:
    assert told([]) == "None: reviews: no_rule_matched"
    assert told([rule("fleet", segment={"equals": "fleet"})], segment="other") == "None: reviews: no_rule_matched"


def test_the_first_rule_that_matches_decides() -> None:
    sure, other = rule("sure", confidence={"at_least": 0.9}), rule("other", "escalate", entity={"not_in": []})
    assert told([sure, other]) == "sure: commands"
    assert told([sure, other], confidence=0.5) == "other: reviews: rule"
    assert told([other, sure]) == "other: reviews: rule"


def test_a_block_overrides_wherever_it_stands() -> None:
    all_of_it, no = rule("all"), rule("no", "block", segment={"equals": "x"})
    for rules in ([all_of_it, no], [no, all_of_it], [rule("ask", "escalate"), no]):
        assert told(rules, segment="x") == "no: boundary.blocked"
    assert told([all_of_it, no], segment="y") == "all: commands"
    assert told([no], segment="y") == "None: reviews: no_rule_matched"


def test_the_first_of_several_blocks_is_named() -> None:
    rules = [rule("one", "block", confidence={"over": 0.99}), rule("two", "block"), rule("three", "block")]
    found = decided(fetched([decision()]), [policy(rules)])
    assert (only(found)["rule"], only(found)["detail"]) == ("two", "the rule 'two' blocks it")
    assert only(found)["stage"] == "boundary"


def test_a_block_that_holds_overrides_one_that_is_unknown() -> None:
    unknown, holds = rule("maybe", "block", segment={"equals": "x"}), rule("yes", "block")
    assert told([unknown, holds]) == "yes: boundary.blocked"


def test_a_block_that_may_hold_keeps_it_from_running() -> None:
    maybe = rule("maybe", "block", segment={"equals": "x"})
    assert told([rule("all"), maybe]) == "maybe: reviews: field_missing"
    two = [rule("all"), maybe, rule("also", "block", value_minor={"over": 5, "currency": "EUR"})]
    assert told(two) == "maybe: reviews: field_missing", "the first that may hold is named"
    assert told(two, segment="y") == "also: reviews: currency_mismatch"


KLEENE = {
    # name: (conditions, what becomes of it where `model` is missing, the currency is USD and the segment is s)
    "unknown alone": ({"model": {"equals": "m"}}, "r: reviews: field_missing"),
    "unknown and true": ({"model": {"equals": "m"}, "segment": {"equals": "s"}}, "r: reviews: field_missing"),
    "unknown and false": ({"model": {"equals": "m"}, "segment": {"equals": "t"}}, "next: commands"),
    "false and unknown": ({"segment": {"equals": "t"}, "model": {"equals": "m"}}, "next: commands"),
    "true": ({"segment": {"equals": "s"}}, "r: commands"),
    "other currency": ({"value_minor": {"under": 9_999, "currency": "EUR"}}, "r: reviews: currency_mismatch"),
    "other currency and false": (
        {"value_minor": {"under": 9_999, "currency": "EUR"}, "segment": {"equals": "t"}},
        "next: commands",
    ),
    "missing and other currency": (
        {"value_minor": {"under": 9_999, "currency": "EUR"}, "model": {"equals": "m"}},
        "r: reviews: field_missing, currency_mismatch",
    ),
    "not_in of a missing field": ({"model": {"not_in": ["m"]}}, "r: reviews: field_missing"),
}


@pytest.mark.parametrize(("when", "becomes"), KLEENE.values(), ids=KLEENE)
def test_what_is_missing_is_neither_true_nor_false(when: dict[str, Any], becomes: str) -> None:
    rules = [{"name": "r", "then": "autonomous", "when": when}, rule("next")]
    assert told(rules, segment="s") == becomes


def test_an_amount_without_a_currency_is_missing_not_mismatched() -> None:
    small = rule("small", value_minor={"at_most": 5_000, "currency": "USD"})
    assert told([small], currency=...) == "small: reviews: field_missing"
    assert told([small], value_minor=...) == "small: reviews: field_missing"
    assert told([small], value_minor=None, currency=None) == "small: reviews: field_missing"


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"at_least": 5}, 5, True),
        ({"at_least": 5}, 4, False),
        ({"at_most": 5}, 5, True),
        ({"at_most": 5}, 6, False),
        ({"over": 5}, 5, False),
        ({"over": 5}, 5.5, True),
        ({"under": 5}, 5, False),
        ({"under": 5}, -1, True),
        ({"at_least": 1, "under": 5}, 3, True),
        ({"at_least": 1, "under": 5}, 7, False),
        ({"equals": 1}, 1.0, True),
        ({"equals": 1}, True, False),
        ({"equals": True}, True, True),
        ({"equals": True}, 1, False),
        ({"equals": "1"}, 1, False),
        ({"equals": 1}, "1", False),
        ({"equals": False}, 0, False),
        ({"in": ["a", 2]}, 2, True),
        ({"in": ["a", 2]}, "b", False),
        ({"not_in": ["a", 2]}, 3, True),
        ({"not_in": ["a", 2]}, "a", False),
        ({"in": [1, 2], "not_in": [2]}, 2, False),
        ({"equals": ""}, "", True),
        ({"equals": "é"}, "e\u0301", False),
        ({"at_least": 2**60}, 10**30, True),
        ({"at_least": 2**60}, 10**299, True),
        # neither text, flags, null, lists nor objects can be compared with a number
        ({"at_least": 5}, "7", None),
        ({"at_least": 0}, True, None),
        ({"equals": 5}, None, None),
        ({"equals": 5}, [5], None),
        ({"equals": 5}, {"a": 5}, None),
    ],
)
def test_attributes_are_compared_by_type(condition: dict[str, Any], value: Any, holds: bool | None) -> None:
    rules = [rule("r", attributes__a=condition), rule("next")]
    becomes = {True: "r: commands", False: "next: commands", None: "r: reviews: field_missing"}[holds]
    assert told(rules, attributes={"a": value}) == becomes


def test_an_attribute_that_is_not_there_is_missing() -> None:
    rules = [rule("r", attributes__a={"equals": 1})]
    assert told(rules) == "r: reviews: field_missing"
    for attributes in (None, {}, {"A": 1}):
        assert told(rules, attributes=attributes) == "r: reviews: field_missing"


@pytest.mark.parametrize(
    ("action", "becomes"),
    [
        ({"type": "refund"}, "r: commands"),
        ({"type": "invoice"}, "next: commands"),
        ({"type": 7}, "r: reviews: field_missing"),
        ({}, "r: reviews: field_missing"),
        ("refund", "r: reviews: field_missing"),
        (None, "r: reviews: field_missing"),
    ],
)
def test_the_action_type_is_the_type_of_an_object(action: Any, becomes: str) -> None:
    assert told([rule("r", action_type={"equals": "refund"}), rule("next")], action=action) == becomes


LIMITS: dict[str, Any] = SMALL_AND_SURE["limits"]  # type: ignore[assignment]  # of a dict of mixed values


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({}, None),
        ({"value_minor": 5_000}, None),
        ({"value_minor": 5_001}, "value_over_limit"),
        ({"value_minor": -5_000}, None),
        ({"value_minor": -5_001}, "value_over_limit"),
        ({"value_minor": 2**53}, "value_over_limit"),
        ({"confidence": 0.8}, None),
        ({"confidence": 0.7999}, "confidence_below"),
        ({"confidence": 1}, None),
        ({"reversible": False}, "irreversible"),
        ({"value_minor": ...}, "field_missing"),
        ({"currency": ...}, "field_missing"),
        ({"confidence": ...}, "field_missing"),
        ({"reversible": ...}, "field_missing"),
        ({"reversible": None}, "field_missing"),
        ({"currency": "EUR"}, "currency_mismatch"),
        ({"currency": "EUR", "value_minor": 10**9}, "currency_mismatch"),
        ({"currency": "usd"}, "currency_mismatch"),
        (
            {"value_minor": 9_999, "confidence": 0.1, "reversible": False},
            "value_over_limit, confidence_below, irreversible",
        ),
        (
            {"currency": "EUR", "confidence": 0.1, "reversible": ...},
            "confidence_below, field_missing, currency_mismatch",
        ),
    ],
)
def test_beyond_a_limit_a_person_decides_and_is_told_every_reason(fields: dict[str, Any], reasons: str | None) -> None:
    becomes = f"reviews: {reasons}" if reasons else "commands"
    assert told([SMALL_AND_SURE], **fields) == f"small-and-sure: {becomes}"


@pytest.mark.parametrize("limit", [{"value_minor_at_most": 5_000, "currency": "USD"}, {"confidence_at_least": 0.8}])
def test_a_limit_that_is_not_given_asks_for_nothing(limit: dict[str, Any]) -> None:
    assert told([rule("r", limits=limit)], reversible=...) == "r: commands"
    assert told([rule("r", limits={"reversible": True})], value_minor=..., confidence=...) == "r: commands"


def test_rows_of_one_batch_do_not_touch_each_other() -> None:
    rules = [rule("no", "block", segment={"equals": "x"}), SMALL_AND_SURE]
    fields: list[dict[str, Any]] = [
        {"segment": "y"},
        {"segment": "x"},
        {},
        {"segment": "y", "confidence": 0.1},
        {"segment": "y", "value_minor": ...},
        {"segment": "y", "workflow": "routing"},
    ]
    batch = fetched([decision(number, **one) for number, one in enumerate(fields)])
    found = decided(batch, [policy(rules), policy([rule("ask", "escalate")], workflow="routing", index=1)])
    assert outcomes(found) == [
        "commands",
        "boundary.blocked",
        "reviews: field_missing",
        "reviews: confidence_below",
        "reviews: field_missing",
        "reviews: rule",
    ]


def test_no_rows_are_no_work() -> None:
    bound([], [policy()])
