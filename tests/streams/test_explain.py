"""The explanation tells what the gate does: its outcome is the path's, and its rules lead to it."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas.policy import Rule
from schemas.published import Halt, Scope
from streams.explain import Explanation, Tried, explain
from streams.halts import Halts
from tests.streams.making import NOW_MS, SMALL_AND_SURE, decided, decision, encoded, fetched, policy, successor
from tests.streams.test_boundary_reference import made, rows_of, rules_of

RULES: list[dict[str, Any]] = [
    {"name": "no", "then": "block", "when": {"segment": {"equals": "x"}}},
    {"name": "odd", "then": "escalate", "when": {"attributes.a": {"in": [1, 2]}, "confidence": {"at_least": 0.5}}},
    {"name": "shade", "then": "block", "shadow": True, "when": {"confidence": {"over": 0.9}}},
    SMALL_AND_SURE,
]


def rules(found: Explanation) -> dict[str, Tried]:
    (tried,) = found.steps
    return {one.rule: one for one in tried}


def test_every_rule_and_what_each_condition_saw() -> None:
    found = explain(encoded(decision(segment="y", attributes={"a": 3}, value_minor=6_000)), policy(RULES), NOW_MS)
    tried = rules(found)
    assert [(one.rule, one.result, one.decided) for one in tried.values()] == [
        ("no", "false", False),
        ("odd", "false", False),
        ("shade", "holds", False),
        ("small-and-sure", "holds", True),
    ]
    (first, second) = tried["odd"].seen
    assert (first.field, first.value, first.condition, first.result) == ("attributes.a", 3, {"in": [1, 2]}, "false")
    assert (second.value, second.result) == (0.93, "holds")
    assert tried["small-and-sure"].beyond == ["value_over_limit"]
    assert (found.outcome.output, found.outcome.reasons) == ("reviews", ["value_over_limit"])
    assert (found.freshness, found.age_ms, found.budget_ms) == ("fresh", 1_000, 600_000)
    assert orjson.loads(msgspec.json.encode(found))["outcome"]["record"]["rule"] == "small-and-sure"


def test_what_is_missing_is_unknown_and_the_rules_after_it_are_not_asked() -> None:
    tried = rules(explain(encoded(decision(segment="y")), policy(RULES), NOW_MS))
    assert (tried["odd"].result, tried["odd"].decided) == ("unknown", True)
    assert tried["odd"].seen[0].why == ["field_missing"]
    assert tried["small-and-sure"].result == "not asked"


def test_a_block_is_told_as_the_one_that_decided() -> None:
    found = explain(encoded(decision(segment="x")), policy(RULES), NOW_MS)
    assert [one.rule for one in found.steps[0] if one.decided] == ["no"]
    assert (found.outcome.reasons, found.outcome.rule) == (["boundary.blocked"], "no")


def test_a_stale_decision_is_told_with_its_age() -> None:
    found = explain(encoded(decision()), policy(RULES), NOW_MS + 600_000)
    assert found.outcome.reasons == ["stale.age"]
    assert found.freshness == "observed 601000 ms ago; the budget is 600000 ms"


def test_context_halts_and_the_allowance_are_those_that_are_told() -> None:
    looks = policy(RULES, context="any")
    known = encoded(decision(segment="y", attributes={"a": 3}, context_version=4))
    assert explain(known, looks, NOW_MS, context_version=4).outcome.output == "commands"
    assert explain(known, looks, NOW_MS, context_version=5).outcome.reasons == ["stale.context"]
    halts = Halts({Scope("billing"): Halt(True, "why", "ana", 1)})
    assert explain(known, policy(RULES), NOW_MS, halts=halts).outcome.reasons == ["halted"]
    assert explain(known, policy(RULES), NOW_MS, allowance_ms=599_500).outcome.reasons == ["stale.unactionable"]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"null", b'{"id":"d"}'])
def test_what_is_no_decision_is_an_exception(value: bytes) -> None:
    found = explain(value, policy(RULES), NOW_MS)
    assert found.outcome.output == "exceptions" and found.steps == [] and found.freshness == "not looked at"


def test_another_workflow_and_a_successor() -> None:
    assert explain(encoded(decision(workflow="w")), policy(), NOW_MS).outcome.reasons == ["invalid.unknown_workflow"]
    found = explain(encoded(successor(segment="y", attributes={"a": 3})), policy(RULES, index=2), NOW_MS)
    assert found.outcome.output == "commands" and found.outcome.record["attempt"] == 2


def test_each_step_of_a_chain_is_told() -> None:
    chain = decision(segment="y", attributes={"a": 3}, action=[{"type": "a"}, {"type": "b", "value_minor": 6_000}])
    found = explain(encoded(chain), policy(RULES), NOW_MS)
    assert [one[-1].beyond for one in found.steps] == [[], ["value_over_limit"], []]
    assert found.outcome.reasons == ["value_over_limit"]


@settings(max_examples=40, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_the_explanation_agrees_with_the_gate(seed: int) -> None:
    chance = Random(seed)
    written = rules_of(chance)
    in_force = made(written, 1)
    document = msgspec.structs.replace(
        in_force.document,
        boundary=msgspec.structs.replace(
            in_force.document.boundary, rules=[msgspec.convert(rule, Rule) for rule in written]
        ),
    )
    in_force = replace(in_force, document=document)
    for one in rows_of(chance)[:4]:
        value = msgspec.json.encode(one)
        found = explain(value, in_force, NOW_MS)
        (sent,) = decided(fetched([value], keys=[b"acct-17"]), [in_force]).records
        record = orjson.loads(sent.value)
        assert found.outcome.output == sent.output
        assert (found.outcome.record.get("rule"), found.outcome.reasons) == (
            record.get("rule"),
            record.get("reasons", [record.get("reason")]),
        )
        deciding = [tried for tried in found.steps[0] if tried.decided]
        assert [tried.rule for tried in deciding] == [found.outcome.rule] * (found.outcome.rule is not None)
        assert all(tried.result in ("holds", "unknown") for tried in deciding)
        if sent.output == "reviews" and deciding and deciding[0].result == "holds" and deciding[0].then == "autonomous":
            assert deciding[0].beyond == found.outcome.reasons
