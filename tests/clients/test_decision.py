"""What the kit sends, the gate reads; what the gate would refuse, the kit refuses and says why."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluicegate_kit import Decision, KitError
from sluicegate_kit.decision import encode

from streams.ingest import refusal

NOW_MS = 1_764_000_000_500
LEAST: dict[str, Any] = {
    "id": "d-1",
    "workflow": "billing",
    "entity": "acct-17",
    "action": None,
    "observed_at_ms": 1_764_000_000_000,
}
circle: list[Any] = []
circle.append(circle)


def nested(depth: int) -> Any:
    inner: Any = 1
    for _ in range(depth):
        inner = [inner]
    return inner


def test_times_are_filled_in_and_given_ones_are_kept() -> None:
    sent = json.loads(encode(Decision(**LEAST), NOW_MS))
    assert sent == {**LEAST, "decided_at_ms": NOW_MS, "sent_at_ms": NOW_MS}
    sent = json.loads(encode(Decision(**LEAST, decided_at_ms=1_764_000_000_100), NOW_MS))
    assert (sent["decided_at_ms"], sent["sent_at_ms"]) == (1_764_000_000_100, NOW_MS)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"id": ""}, "id: 1 to 200 characters are expected, got 0"),
        ({"id": "x" * 201}, "id: 1 to 200 characters"),
        ({"id": None}, "id: text is expected"),
        ({"id": "a~2"}, "it may not hold a ~"),
        ({"workflow": ""}, "workflow: 1 to 200"),
        ({"entity": "x" * 201}, "entity: 1 to 200"),
        ({"entity": 17}, "entity: text is expected, got 17"),
        ({"observed_at_ms": 1764000000.5}, "integer epoch milliseconds"),
        ({"observed_at_ms": True}, "integer epoch milliseconds"),
        ({"observed_at_ms": 1764000000}, "looks like seconds"),
        ({"observed_at_ms": -1}, "outside 0"),
        ({"expires_at_ms": 253402300800000}, "expires_at_ms: outside 0"),
        ({"confidence": 1.01}, "confidence: a number from 0 to 1"),
        ({"confidence": float("nan")}, "confidence: a number from 0 to 1"),
        ({"confidence": "0.9"}, "confidence: a number from 0 to 1"),
        ({"value_minor": 12.5}, "value_minor: an integer in the currency's minor unit"),
        ({"value_minor": 2**53 + 1}, "value_minor"),
        ({"value_minor": -(2**53) - 1}, "value_minor"),
        ({"context_version": -1}, "context_version"),
        ({"currency": "EURO"}, "three letters"),
        ({"currency": "12€"}, "three letters"),
        ({"reversible": "yes"}, "reversible: true or false"),
        ({"model": 3}, "model: text"),
        ({"attributes": [1]}, "attributes: a dict"),
        ({"attributes": {1: "a"}}, "keys are text"),
        ({"action": {"amount": Decimal("1.5")}}, "action.amount: Decimal is not JSON"),
        ({"action": b"{}"}, "action: bytes is not JSON"),
        ({"action": [float("inf")]}, r"action\[0\]: inf is no number"),
        ({"action": "\ud800"}, "half a character"),
        ({"action": {"\ufeff": 1}}, "byte order mark"),
        ({"action": 10**300}, "more than 300 digits"),
        ({"action": nested(64)}, "nested more than 64 deep"),
        ({"action": circle}, "nested more than 64 deep"),
        ({"action": [[circle] * 600] * 600}, "values"),
        ({"action": "x" * 262_144}, "at most 262144 are allowed"),
    ],
)
def test_what_the_contract_refuses_is_refused_with_the_field(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(KitError, match=says) as refused:
        encode(Decision(**{**LEAST, **fields}), NOW_MS)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "x" * 200, "entity": "ü" * 200},
        {"observed_at_ms": 0, "expires_at_ms": 253402300799999},
        {"confidence": 0, "value_minor": 2**53, "currency": "EUR", "context_version": 0, "reversible": False},
        {"action": nested(63)},
        {"action": 10**299},
        {"action": "x" * 261_900},
        {"action": ("a", 1.5, None, True, {"type": "t"})},
        {"attributes": {}, "model": "", "proposer": "a", "segment": "b"},
    ],
)
def test_what_is_just_within_the_limits_the_gate_takes(fields: dict[str, Any]) -> None:
    assert refusal(encode(Decision(**{**LEAST, **fields}), NOW_MS)) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(action=anything, attributes=st.dictionaries(st.text(), anything, max_size=3), identifier=st.text(max_size=3))
def test_whatever_the_kit_encodes_the_gate_takes(action: Any, attributes: dict[str, Any], identifier: str) -> None:
    decision = Decision(**{**LEAST, "action": action, "attributes": attributes, "id": identifier})
    try:
        value = encode(decision, NOW_MS)
    except KitError:
        return
    assert refusal(value) is None
    assert json.loads(value)["action"] == action
