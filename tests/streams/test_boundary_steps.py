"""Chains, expressions, shadow rules and the audit sample."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import orjson
import pytest

from schemas.policy import PolicyDocument
from schemas.topics import RETENTION_MS
from streams.chains import STEPS_MAX, action_types, worth
from streams.policy import Policy, compile_policy
from streams.sampling import is_drawn
from tests.streams.making import (
    BUDGET_MS,
    NOW_MS,
    SMALL_AND_SURE,
    decided,
    decision,
    fetched,
    only,
    outcomes,
    policy,
    row,
)

REFUND_BLOCKED = {"name": "no-refund", "then": "block", "when": {"action_type": {"equals": "refund"}}}


def told(rules: list[dict[str, Any]], **fields: Any) -> str:
    found = decided(fetched([decision(**fields)]), [policy(rules)])
    return f"{only(found).get('rule')}: {outcomes(found)[0]}"


@pytest.mark.parametrize(
    ("steps", "fields", "becomes"),
    [
        ([{"type": "a"}, {"type": "b"}], {}, "small-and-sure: commands"),
        ([{"type": "a"}, {"type": "refund"}], {}, "no-refund: boundary.blocked"),
        ([{"type": "a", "value_minor": 5_001}, {"type": "b"}], {}, "small-and-sure: reviews: value_over_limit"),
        ([{"type": "a", "value_minor": -5_001}], {}, "small-and-sure: reviews: value_over_limit"),
        ([{"type": "a", "value_minor": 1}], {"value_minor": 5_001}, "small-and-sure: reviews: value_over_limit"),
        ([{"type": "a", "value_minor": 1}], {"value_minor": ...}, "small-and-sure: reviews: field_missing"),
        ([{"type": "a", "reversible": False}], {}, "small-and-sure: reviews: irreversible"),
        ([{"type": "a", "reversible": True}], {"reversible": False}, "small-and-sure: reviews: irreversible"),
        ([{"type": "a", "currency": "EUR"}], {}, "small-and-sure: reviews: currency_mismatch"),
        ([{"type": "a", "value_minor": "5"}], {}, "small-and-sure: reviews: field_missing"),
        ([{"type": "a", "value_minor": True}], {}, "small-and-sure: reviews: field_missing"),
        ([{"type": "a", "value_minor": 2**60}], {}, "small-and-sure: reviews: field_missing"),
        ([{"type": "a", "value_minor": None}], {}, "small-and-sure: commands"),
        ([{"type": 7}], {}, "no-refund: reviews: field_missing"),
        ([{}], {}, "no-refund: reviews: field_missing"),
        ([{"type": "refund"}, {"type": "a", "value_minor": 9_999}], {}, "no-refund: boundary.blocked"),
        # no step is over the limit, all of them together are
        ([{"type": "a", "value_minor": 2_500}] * 2, {}, "small-and-sure: commands"),
        ([{"type": "a", "value_minor": 2_501}] * 2, {}, "small-and-sure: reviews: value_over_limit"),
        ([{"type": "a", "value_minor": -2_501}] * 2, {}, "small-and-sure: reviews: value_over_limit"),
        (
            [{"type": "a", "value_minor": 2_501}, {"type": "b", "value_minor": -2_500}],
            {},
            "small-and-sure: reviews: value_over_limit",
        ),
        ([{"type": "a", "value_minor": 60}] * STEPS_MAX, {}, "small-and-sure: reviews: value_over_limit"),
        ([{"type": "a", "value_minor": 2_501}, {"type": "b"}, {}][:2], {}, "small-and-sure: commands"),
    ],
)
def test_a_chain_goes_as_far_as_its_riskiest_step(steps: list[Any], fields: dict[str, Any], becomes: str) -> None:
    assert told([REFUND_BLOCKED, SMALL_AND_SURE], action=steps, **fields) == becomes


@pytest.mark.parametrize("action", [[], [1], [{"type": "a"}, "b"], [[{"type": "a"}]], [{}] * (STEPS_MAX + 1)])
def test_a_chain_that_cannot_be_judged_goes_to_a_person_unless_it_is_blocked(action: list[Any]) -> None:
    assert told([SMALL_AND_SURE], action=action) == "small-and-sure: reviews: field_missing"
    never = {"name": "never", "then": "block", "when": {"segment": {"equals": "x"}}}
    assert told([SMALL_AND_SURE, never], action=action, segment="x") == "never: boundary.blocked"


def test_a_rule_about_signs_sees_the_sign_that_all_steps_have() -> None:
    credits = {"name": "credits", "then": "autonomous", "when": {"value_minor": {"at_most": 0, "currency": "USD"}}}
    both = [{"type": "a", "value_minor": -5}, {"type": "a", "value_minor": -7}]
    assert told([credits], action=both, value_minor=-12) == "credits: commands"
    mixed = [{"type": "a", "value_minor": -5}, {"type": "a", "value_minor": 0}, {"type": "a", "value_minor": 7}]
    assert told([credits], action=mixed, value_minor=-12) == "None: reviews: no_rule_matched"


@pytest.mark.parametrize(
    ("steps", "fields", "found"),
    [
        ([{"type": "a"}] * 2, {}, 1_250),
        ([{"type": "a", "value_minor": 700}, {"type": "b", "value_minor": -600}], {}, 1_300),
        ([{"type": "a", "value_minor": 700}], {}, 1_250),
        ([{"type": "a", "value_minor": 700}], {"value_minor": ...}, "field_missing"),
        ([{"type": "a", "value_minor": "700"}], {}, "field_missing"),
        ([{"type": "a", "value_minor": 7, "currency": "EUR"}], {}, "currency_mismatch"),
        ({"type": "a", "value_minor": 7_000}, {"value_minor": -3}, 3),
        ([1], {}, 1_250),
    ],
)
def test_a_chain_is_worth_what_it_says_or_what_its_steps_come_to(steps: Any, fields: Any, found: Any) -> None:
    one = row(decision(action=steps, **fields)).decision
    assert one is not None and worth(one, "USD") == found


def test_a_chain_does_not_touch_the_other_rows_of_its_batch() -> None:
    made = [
        decision(1),
        decision(2, action=[{"type": "a", "value_minor": 6_000}, {"type": "a"}]),
        decision(3, value_minor=5_001),
        decision(4, action=[{"type": "refund"}]),
        decision(5),
    ]
    assert outcomes(decided(fetched(made), [policy([REFUND_BLOCKED, SMALL_AND_SURE])])) == [
        "commands",
        "reviews: value_over_limit",
        "reviews: value_over_limit",
        "boundary.blocked",
        "commands",
    ]


def test_the_action_types_of_a_decision() -> None:
    for action, types in (
        ({"type": "a"}, ["a"]),
        ([{"type": "a"}, {}, 3], ["a", None, None]),
        ([], [None]),
        ("a", [None]),
    ):
        one = row(decision(action=action)).decision
        assert one is not None and action_types(one) == types


def cel(text: str, then: str = "autonomous", **more: Any) -> dict[str, Any]:
    return {"name": "r", "then": then, "cel": text, **more}


@pytest.mark.parametrize(
    ("text", "fields", "becomes"),
    [
        ("value_minor * 2 > 2000", {}, "r: commands"),
        ("value_minor * 2 > 4000", {}, "None: reviews: no_rule_matched"),
        ("confidence > 0.9 && reversible && currency == 'USD'", {}, "r: commands"),
        ("action.amount > 12.0 && action_type == 'invoice.post'", {}, "r: commands"),
        ("attributes.tags.exists(t, t == 'vip')", {"attributes": {"tags": ["vip"]}}, "r: commands"),
        ("has(decision.segment) && segment == 's'", {}, "None: reviews: no_rule_matched"),
        ("has(decision.segment) && segment == 's'", {"segment": "s"}, "r: commands"),
        ("has(attributes.x)", {}, "None: reviews: no_rule_matched"),
        ("decision.attributes.x == 1", {"attributes": {"x": 1}}, "r: commands"),
        ("workflow == 'billing' && observed_at_ms > 0", {}, "r: commands"),
        ("entity.matches('^acct-[0-9]+$')", {}, "r: commands"),
        # what fails or gives no bool is for a person, never skipped
        ("segment == 's'", {}, "r: reviews: policy_error"),
        ("attributes.x", {"attributes": {"x": 1}}, "r: reviews: policy_error"),
        ("attributes.x", {"attributes": {"x": True}}, "r: commands"),
        ("value_minor / 0 > 1", {}, "r: reviews: policy_error"),
        ("attributes.x > 1", {"attributes": {"x": "a"}}, "r: reviews: policy_error"),
        ("action.n > 1", {"action": {"n": 2**63}}, "r: commands"),
        (
            "attributes.x.all(a, attributes.x.all(b, a + b > 0))",
            {"attributes": {"x": [1] * 2_000}},
            "r: reviews: policy_error",
        ),
    ],
)
def test_an_expression_sees_the_decision(text: str, fields: dict[str, Any], becomes: str) -> None:
    assert told([cel(text)], **fields) == becomes


def test_an_expression_is_asked_only_where_its_rule_holds_and_nothing_has_decided() -> None:
    fails = cel("value_minor / 0 > 1", when={"segment": {"equals": "s"}})
    last = {"name": "last", "then": "escalate"}
    first = {"name": "first", "then": "escalate", "when": {"model": {"equals": "m"}}}
    assert told([fails, last], segment="t") == "last: reviews: rule"
    assert told([fails, last], segment="s") == "r: reviews: policy_error"
    assert told([fails, last]) == "r: reviews: field_missing"
    assert told([first, fails, last], segment="s", model="m") == "first: reviews: rule"


def test_a_block_whose_expression_fails_keeps_it_from_running() -> None:
    fails = cel("value_minor / 0 > 1", "block")
    assert told([SMALL_AND_SURE, fails]) == "r: reviews: policy_error"
    assert told([SMALL_AND_SURE, fails, {"name": "all", "then": "block"}]) == "all: boundary.blocked"
    assert told([SMALL_AND_SURE, cel("value_minor == 1250", "block")]) == "r: boundary.blocked"


def test_an_expression_sees_one_step_of_a_chain_at_a_time() -> None:
    only_small = cel(
        "has(action.lines) && size(action.lines) < 3", limits={"value_minor_at_most": 5_000, "currency": "USD"}
    )
    assert told([only_small], action=[{"lines": [1]}, {"lines": []}]) == "r: commands"
    assert told([only_small], action=[{"lines": [1]}, {"lines": [1, 2, 3]}]) == "None: reviews: no_rule_matched"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 +", "'1 +': 1:4: Syntax error"),
        ("colour == 'red'", "\"colour == 'red'\": 1:1: undeclared reference to 'colour'"),
        ("segment > 3", "'segment > 3': 1:9: found no matching overload"),
        ("value_minor + 1", "'value_minor + 1', which gives int"),
    ],
)
def test_an_expression_that_cannot_be_used_is_a_fault_of_the_policy(text: str, found: str) -> None:
    head = {"workflow": "w", "version": 1, "freshness": {"budget": "10s"}, "boundary": {"rules": [cel(text)]}}
    made, (problem,) = compile_policy(msgspec.convert(head, PolicyDocument), 0)
    assert made is None and problem.path == "boundary.rules[0].cel"
    assert problem.found.startswith(found), problem.found
    assert problem.expected


def test_without_the_library_an_expression_is_a_fault_of_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cel._made", [])
    monkeypatch.setitem(__import__("sys").modules, "cel_expr_python", None)
    head = {"workflow": "w", "version": 1, "freshness": {"budget": "10s"}, "boundary": {"rules": [cel("true")]}}
    made, (problem,) = compile_policy(msgspec.convert(head, PolicyDocument), 0)
    assert made is None and "cel-expr-python" in problem.expected


def test_shadow_rules_are_counted_and_decide_nothing() -> None:
    rules = [
        {"name": "would-block", "then": "block", "when": {"segment": {"equals": "x"}}, "shadow": True},
        {**SMALL_AND_SURE, "name": "would-run", "shadow": True},
        cel("value_minor / 0 > 1", "escalate", shadow=True),
        {"name": "over", "then": "escalate", "when": {"value_minor": {"over": 2_000, "currency": "USD"}}},
        SMALL_AND_SURE,
    ]
    made = [
        decision(1, segment="x"),
        decision(2, segment="y", value_minor=3_000),
        decision(3),
        decision(4, segment="y", value_minor=9_000),
        decision(5, segment="y", action=[{"value_minor": 1}, {"value_minor": 6_000}]),
    ]
    found = decided(fetched(made), [policy(rules)])
    assert outcomes(found) == ["commands", "reviews: rule", "commands", "reviews: rule", "reviews: rule"]
    assert found.observed.shadowed == {
        ("billing", "would-block", "block", "autonomous"): 1,
        ("billing", "would-block", "escalate", "autonomous"): 1,  # its segment is missing
        ("billing", "would-run", "autonomous", "autonomous"): 2,
        ("billing", "would-run", "autonomous", "escalate"): 1,
        ("billing", "would-run", "escalate", "escalate"): 2,
        ("billing", "r", "error", "autonomous"): 2,
        ("billing", "r", "error", "escalate"): 3,
    }


def sampling(share: float, **review: Any) -> Policy:
    document = {
        "workflow": "billing",
        "version": 3,
        "freshness": {"budget": "10m"},
        "boundary": {"rules": [SMALL_AND_SURE], "audit_sample": share},
        "review": review,
    }
    made, problems = compile_policy(msgspec.convert(document, PolicyDocument), 0)
    assert made is not None, problems
    return made


def test_a_sample_is_a_second_record_beside_its_command() -> None:
    found = decided(fetched([decision(1), decision(2, confidence=0.1)], first_offset=7), [sampling(1.0, queue="audit")])
    assert outcomes(found) == ["commands", "reviews: confidence_below"]
    (sent,) = found.samples
    shown, command = orjson.loads(sent.value), orjson.loads(found.records[0].value)
    assert (sent.output, sent.key) == ("reviews", b"acct-17")
    assert (shown["kind"], shown["reasons"], shown["caused_by"]) == ("audit_sample", ["audit_sample"], None)
    assert {shown[name] == command[name] for name in ("source", "decision_id", "policy", "rule", "gated_at_ms")} == {
        True
    }
    assert shown["queue"] == "audit" and shown["decision"] == json.loads(json.dumps(decision(1)))
    assert shown["fresh_until_ms"] == command["deadline_ms"] == NOW_MS - 1_000 + BUDGET_MS
    assert shown["deadline_ms"] == shown["escalate_at_ms"] == NOW_MS + RETENTION_MS
    assert found.observed.sampled == {"billing": 1}
    assert found.counts == {("billing", "commands", "within_bounds"): 1, ("billing", "reviews", "confidence_below"): 1}


def test_the_sla_bounds_a_sample() -> None:
    (sent,) = decided(fetched([decision()]), [sampling(1.0, sla="2h")]).samples
    assert orjson.loads(sent.value)["deadline_ms"] == NOW_MS + 7_200_000


def test_a_command_that_is_refused_in_the_end_is_not_sampled() -> None:
    repeated = fetched([decision(), decision()])
    found = decided(repeated, [sampling(1.0)])
    assert outcomes(found) == ["commands", "duplicate.repeat"] and len(found.samples) == 1
    assert decided(fetched([decision()]), [sampling(0.0)]).samples == []


def test_the_draw_is_of_the_id_and_of_about_the_share() -> None:
    ids = [f"d-{number}" for number in range(20_000)]
    small = {one for one in ids if is_drawn(one, 0.01)}
    assert 150 < len(small) < 250
    assert small == {one for one in ids if is_drawn(one, 0.01)}
    assert small < {one for one in ids if is_drawn(one, 0.05)}
    assert not any(is_drawn(one, 0.0) for one in ids) and all(is_drawn(one, 1.0) for one in ids)
    assert is_drawn("\ud800", 1.0)
