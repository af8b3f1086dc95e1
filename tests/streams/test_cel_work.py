"""What a policy's expressions make the path compute for one record is bounded; beyond it a person decides."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streams import cel
from streams.cel import Expression
from streams.columns import Columns
from tests.streams.making import decided, decision, fetched, outcomes, policy, row

pytest.importorskip("cel_expr_python")

STEPS = [{"type": "x", "n": number, "value_minor": number} for number in range(100)]
LARGE = {f"k{number}": "v" * 20 for number in range(7_000)}  # 230 KB


def ruled(*expressions: str, then: str = "autonomous") -> list[dict[str, Any]]:
    return [{"name": f"r{at}", "then": then, "cel": text} for at, text in enumerate(expressions)]


def test_long_chains_with_many_attributes_do_not_hold_up_the_others() -> None:
    """Each step was judged twice, each time with all attributes converted anew: 0.35 s a record, 7 s for these."""
    under = policy(ruled("size(attributes) > 3 && action.type == 'x'"))
    batch = fetched([decision(number, action=STEPS, attributes=LARGE) for number in range(20)])
    began_s = time.process_time()
    found = decided(batch, [under])
    assert time.process_time() - began_s < 3.0
    assert outcomes(found) == ["reviews: policy_error"] * 20


def test_one_attribute_by_its_name_is_all_that_is_handed_over() -> None:
    under = policy(ruled("attributes.k7 == 'vvvvvvvvvvvvvvvvvvvv' && has(attributes.k8) && !has(attributes.no)"))
    assert outcomes(decided(fetched([decision(action=STEPS, attributes=LARGE)]), [under])) == ["commands"]


def test_many_rules_convert_the_attributes_once() -> None:
    under = policy(ruled(*(f"size(attributes) == {number}" for number in range(500)), then="escalate"))
    found = decided(fetched([decision(attributes=LARGE)]), [under])
    assert outcomes(found) == ["reviews: no_rule_matched"], "500 rules, and 3 conversions are too much"


@pytest.mark.parametrize(("rules", "becomes"), [(9, "commands"), (10, "reviews: policy_error")])
def test_steps_times_rules_are_bounded(rules: int, becomes: str) -> None:
    never = (f"value_minor == {-number - 1}" for number in range(rules))
    under = policy(ruled(*never, "value_minor >= 0"))
    steps = [{"n": number, "value_minor": number} for number in range(100)]  # judged twice each
    assert outcomes(decided(fetched([decision(action=steps)]), [under])) == [becomes]


def test_a_chain_has_no_more_steps_than_its_rules_can_be_asked_about() -> None:
    """4,000 rules and 100 steps would take 20 ms a record, and a batch of them longer than a worker may be silent."""
    of_step = {"value_minor": {"at_least": 10**9, "currency": "USD"}}
    many = [
        {"name": f"r{at}", "then": "escalate", "when": of_step | {"confidence": {"at_least": at / 10_000}}}
        for at in range(4_000)
    ]
    under = policy([*many, {"name": "all", "then": "autonomous"}])
    some = [{"n": number, "value_minor": number} for number in range(24)]
    assert outcomes(decided(fetched([decision(1, action=some), decision(2, action=STEPS)]), [under])) == [
        "commands",
        "reviews: policy_error",
    ]


def test_one_record_spends_nothing_of_its_neighbours() -> None:
    under = policy(ruled("size(attributes) > 0"))
    many = [decision(1, action=STEPS, attributes=LARGE), *(decision(n, attributes={"a": 1}) for n in range(2, 50))]
    assert outcomes(decided(fetched(many), [under])) == ["reviews: policy_error", *["commands"] * 48]


def test_loops_within_loops_count_as_often_as_they_run() -> None:
    inner = "attributes.a.exists(y, y == x + 1000)"
    under = policy(ruled(*(f"attributes.a.exists(x, {inner}) || {n} < 0" for n in range(10)), then="escalate"))
    few, many = ({"a": list(range(count))} for count in (5, 90))
    found = decided(fetched([decision(1, attributes=few), decision(2, attributes=many)]), [under])
    assert outcomes(found) == ["reviews: no_rule_matched", "reviews: policy_error"]


ATTRIBUTES = {"vip": True, "size": 3, "tags": ["a", "b"], "in": {"deep": 1}, "a b": "c"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("attributes.vip", {"vip"}),
        ("has(attributes.vip) && attributes . size > 2", {"vip", "size"}),
        ("attributes['a b'] == 'c' && attributes[\"size\"] == 3", {"a b", "size"}),
        ("attributes.tags.exists(t, t == 'b')", {"tags"}),
        ("decision.entity == 'acct-17' && attributes.vip", {"vip"}),
        ("has(decision.segment) || decision.value_minor == 1250", set()),
        ("decision.attributes.vip", None),
        ("decision['entity'] == 'acct-17'", None),
        ("attributes.exists(name, name == 'vip')", None),
        ("'vip' in attributes", None),
        ("size(attributes) == 5", None),
        ("attributes['si' + 'ze'] == 3", None),
        ("attributes .exists(n, n == 'size')", None),
        ("(attributes).size == 3", None),
        ("{'a': attributes}.a.vip", None),
        ("action.type == 'invoice.post' && attributes.vip", {"vip"}),
    ],
)
def test_what_is_named_is_told_from_what_needs_all(text: str, named: set[str] | None) -> None:
    """And says the same of a decision as where everything is handed over."""
    made = Expression(text)
    assert made._named == (None if named is None else frozenset(named))
    decision_ = row(decision(attributes=ATTRIBUTES)).decision
    assert decision_ is not None
    assert made.holds(Columns([decision_]), 0) is True
    made._takes_all = True
    assert made.holds(Columns([decision_]), 0) is True


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("a == 1 && (b || c)", 0),
        ("x.all(y, y > 0) && x.exists(z, (z == 1))", 1),
        ("x.all(y, z.exists(w, w == y))", 2),
        ("x.map(y, y.filter(z, z.exists_one(q, q))).all(r, r)", 3),
        (") x.all(", 1),
    ],
)
def test_how_deep_loops_stand(text: str, depth: int) -> None:
    assert cel._nesting(text) == depth
