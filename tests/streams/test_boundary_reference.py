"""The compiled rules say what a plain interpreter says that walks all rules for each row."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from schemas.decision import Decision
from schemas.policy import PolicyDocument, Rule
from streams.boundary import Judged, judge
from streams.columns import Columns
from streams.conditions import FEW
from streams.policy import Policy, compile_policy
from streams.rules import Book, Wanted, ready
from tests.streams.making import decision, encoded

TEXTS = ["a", "b", "c"]
SCALARS: list[Any] = ["a", "b", 1, 2, 1.5, True, False]
ORDER = {"at_least": lambda v, e: v >= e, "at_most": lambda v, e: v <= e, "over": lambda v, e: v > e}


def condition_of(chance: Random, field: str) -> dict[str, Any]:
    if field == "confidence":
        return {"at_least": chance.choice([0.2, 0.5])}
    if field == "reversible":
        return {"equals": chance.random() < 0.5}
    edges = {name: chance.choice([0, 1, 1.5, 2]) for name in chance.sample(sorted(ORDER), chance.randint(1, 2))}
    if field == "value_minor":
        return {**edges, "currency": "USD"}
    scalars = SCALARS if field.startswith("attributes") else TEXTS
    choices = [
        {"equals": chance.choice(scalars)},
        {"in": chance.choices(scalars, k=2)},
        {"not_in": chance.choices(scalars, k=2)},
        {"equals": chance.choice(scalars), "not_in": chance.choices(scalars, k=1)},
    ]
    return chance.choice([*choices, edges] if field.startswith("attributes") else choices)


FIELDS = ["segment", "model", "attributes.x", "attributes.y", "value_minor", "confidence", "reversible", "action_type"]


def rules_of(chance: Random) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for number in range(chance.randint(1, 25)):
        then = chance.choice(["autonomous", "escalate", "block"])
        fields = chance.sample(FIELDS, chance.choice([0, 1, 1, 2, 2, 3, 3, 4]))
        rule = {"name": f"r{number}", "then": then, "when": {one: condition_of(chance, one) for one in fields}}
        limits: dict[str, Any] = {}
        if chance.random() < 0.4:
            limits |= {"value_minor_at_most": chance.choice([1, 2]), "currency": chance.choice(["USD", "EUR"])}
        if chance.random() < 0.4:
            limits |= {"confidence_at_least": chance.choice([0.3, 0.9])}
        if chance.random() < 0.4:
            limits |= {"reversible": True}
        rules.append({**rule, "limits": limits} if limits and then == "autonomous" else rule)
    return rules


def rows_of(chance: Random) -> list[Decision]:
    """As many as one way of evaluation takes, or as the other does."""
    known: dict[str, list[Any]] = {
        "segment": [*TEXTS, ...],
        "model": [*TEXTS, ...],
        "action": [{"type": "a"}, {"type": "b"}, {}, "a"],
        "value_minor": [-2, 0, 1, 2, 3, ...],
        "currency": ["USD", "USD", "EUR", ...],
        "confidence": [0.1, 0.4, 1.0, ...],
        "reversible": [True, False, ...],
    }
    rows = []
    for number in range(chance.choice([1, 3, FEW, 3 * FEW])):
        fields = {name: chance.choice(values) for name, values in known.items()}
        fields["attributes"] = {
            name: chance.choice([*SCALARS, None, [1]]) for name in ("x", "y") if chance.random() < 0.8
        }
        rows.append(msgspec.json.decode(encoded(decision(number, **fields)), type=Decision))
    return rows


def value_of(field: str, one: Decision) -> Any:
    if field == "action_type":
        action = msgspec.json.decode(bytes(one.action))
        return action.get("type") if isinstance(action, dict) else None
    if field.startswith("attributes."):
        value = (one.attributes or {}).get(field.removeprefix("attributes."))
        return value if isinstance(value, (str, int, float)) else None
    return getattr(one, field)


def same(value: Any, other: Any) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def condition_says(field: str, wanted: dict[str, Any], one: Decision) -> str | bool:
    value = value_of(field, one)
    edges = {name: edge for name, edge in wanted.items() if name in ORDER}
    if value is None or (edges and isinstance(value, (str, bool))):
        return "field_missing"
    if "currency" in wanted and one.currency != wanted["currency"]:
        return "field_missing" if one.currency is None else "currency_mismatch"
    return (
        all(ORDER[name](value, edge) for name, edge in edges.items())
        and ("equals" not in wanted or same(value, wanted["equals"]))
        and ("in" not in wanted or any(same(value, item) for item in wanted["in"]))
        and not any(same(value, item) for item in wanted.get("not_in", []))
    )


def rule_says(rule: dict[str, Any], one: Decision) -> bool | list[str]:
    said = [condition_says(field, wanted, one) for field, wanted in rule["when"].items()]
    if False in said:
        return False
    return [reason for reason in ("field_missing", "currency_mismatch") if reason in said] or True


def limits_say(limits: dict[str, Any], one: Decision) -> list[str]:
    found = set()
    if "value_minor_at_most" in limits:
        if one.value_minor is None or one.currency is None:
            found.add("field_missing")
        elif one.currency != limits["currency"]:
            found.add("currency_mismatch")
        elif abs(one.value_minor) > limits["value_minor_at_most"]:
            found.add("value_over_limit")
    if "confidence_at_least" in limits:
        if one.confidence is None:
            found.add("field_missing")
        elif one.confidence < limits["confidence_at_least"]:
            found.add("confidence_below")
    if "reversible" in limits and one.reversible is not True:
        found.add("field_missing" if one.reversible is None else "irreversible")
    order = ["value_over_limit", "confidence_below", "irreversible", "field_missing", "currency_mismatch"]
    return [reason for reason in order if reason in found]


def reference(rules: list[dict[str, Any]], one: Decision) -> tuple[str | None, list[str] | str | None]:
    blocks = [(rule["name"], rule_says(rule, one)) for rule in rules if rule["then"] == "block"]
    for name, said in blocks:
        if said is True:
            return name, "blocked"
    for name, said in blocks:
        if isinstance(said, list):
            return name, said
    for rule in rules:
        if rule["then"] == "block" or (said := rule_says(rule, one)) is False:
            continue
        if isinstance(said, list):
            return rule["name"], said
        if rule["then"] == "escalate":
            return rule["name"], ["rule"]
        return rule["name"], limits_say(rule.get("limits", {}), one) or None
    return None, ["no_rule_matched"]


def made(rules: list[dict[str, Any]], indexed_from: int) -> Policy:
    """Without the checks: rules that can have no effect are evaluated here too."""
    head = {"workflow": "billing", "version": 1, "freshness": {"budget": "10m"}, "boundary": {}}
    policy, problems = compile_policy(msgspec.convert(head, PolicyDocument), 0)
    assert policy is not None, problems
    compiled = [ready(msgspec.convert(rule, Rule)) for rule in rules]
    wanted: dict[bool, Wanted] = {False: "first", True: "until_holds"}
    books = {
        blocks: Book([one for one in compiled if (one.rule.then == "block") is blocks], wanted[blocks], indexed_from)
        for blocks in (False, True)
    }
    return replace(policy, book=books[False], block_book=books[True])


@pytest.mark.parametrize("indexed_from", [1, 1_000])
@settings(max_examples=150, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_the_compiled_rules_agree_with_a_plain_interpreter(indexed_from: int, seed: int) -> None:
    chance = Random(seed)
    rules = rules_of(chance)
    policy = made(rules, indexed_from)
    for _ in range(3):  # plans are kept from one batch to the next
        decisions = rows_of(chance)
        judged = [Judged() for _ in decisions]
        judge(judged, Columns(decisions), policy)
        found = [(one.rule, "blocked" if one.refused else one.review_reasons) for one in judged]
        assert found == [reference(rules, one) for one in decisions], rules


@settings(max_examples=60, phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_all_of_a_book_is_what_each_rule_says(seed: int) -> None:
    chance = Random(seed)
    rules, decisions = rules_of(chance), rows_of(chance)
    book = Book([ready(msgspec.convert(rule, Rule)) for rule in rules], "all", indexed_from=1)
    found = {
        (found.ready.rule.name, row)
        for found in book.walk(Columns(decisions), np.ones(len(decisions), dtype=bool))
        for row in found.rows.tolist()
    }
    assert found == {
        (rule["name"], at) for rule in rules for at, one in enumerate(decisions) if rule_says(rule, one) is not False
    }
