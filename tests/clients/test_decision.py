"""What the kit sends, the gate reads; what the gate would refuse, the kit refuses and says why."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st
from sluicegate_kit import Decision, KitError
from sluicegate_kit.decision import encode

from schemas.generate import schema_of
from streams.ingest import refusal
from streams.partitioning import partition_of

NOW_MS = 1_764_000_000_500
LEAST: dict[str, Any] = {
    "id": "d-1",
    "workflow": "billing",
    "entity": "acct-17",
    "action": None,
    "observed_at_ms": 1_764_000_000_000,
}
SCHEMA = schema_of("decision")
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


text = st.text(st.characters(exclude_categories=[]), max_size=6) | st.sampled_from(
    ["\ufeff", "a~b", "x" * 200, "y" * 201]
)
text = text.filter(
    lambda one: not re.search("[\ud800-\udbff][\udc00-\udfff]", one)
)  # two halves, which no text of Python has
number = (
    st.integers() | st.floats() | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 10**299, 10**300, 253402300799999])
)
anything = st.recursive(
    st.none() | st.booleans() | number | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)
deep = st.integers(60, 66).map(nested)
large = st.integers(261_600, 262_200).map(lambda size: "x" * size)
TIMES = ("observed_at_ms", "decided_at_ms", "expires_at_ms")


def as_json(value: Any) -> str:
    """What a producer without the kit would send: halves of characters escaped, and NaN as it likes."""
    told = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return re.sub("[\ud800-\udfff]", lambda one: f"\\u{ord(one[0]):04x}", told)


def slip(body: dict[str, Any]) -> bool:
    """The two things that only the kit refuses: the gate would read them, but nobody means them."""
    times = [body.get(name) for name in TIMES]
    seconds = any(type(one) is int and 0 < one < 10**11 for one in times)
    currency = body.get("currency")
    return seconds or (isinstance(currency, str) and len(currency) == 3 and not currency.isalpha())


@settings(deadline=None, max_examples=400)
@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(("id", "workflow", "entity", "model", "proposer", "segment"), text | anything),
            **dict.fromkeys((*TIMES, "confidence", "value_minor", "context_version"), number | anything),
            "action": anything | deep | large,
            "currency": st.sampled_from(["EUR", "EURO", "E", "eur"]) | text | anything,
            "reversible": st.booleans() | anything,
            "attributes": st.dictionaries(text, anything, max_size=3) | anything,
        },
    )
)
def test_the_kit_refuses_what_the_gate_refuses_and_nothing_else(fields: dict[str, Any]) -> None:
    body = {**LEAST, **fields}
    sent = {name: value for name, value in body.items() if value is not None or name == "action"}
    theirs = refusal(
        as_json({**sent, "decided_at_ms": sent.get("decided_at_ms", NOW_MS), "sent_at_ms": NOW_MS}).encode()
    )
    told, value = None, b""
    try:
        value = encode(Decision(**body), NOW_MS)
    except KitError as error:
        told = str(error)
    if told is not None:
        assert theirs is not None or slip(body), told
        assert told.isprintable()
        assert len(told) < 400
        return
    assert theirs is None
    assert refusal(value) is None
    assert json.loads(value)["action"] == body["action"]
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(value))


def test_a_key_is_put_where_the_gate_looks_for_it() -> None:
    @settings(deadline=None)
    @given(key=st.binary(max_size=50), partitions=st.integers(1, 100))
    def same(key: bytes, partitions: int) -> None:
        assert DefaultPartitioner()(key, list(range(partitions)), []) == partition_of(key, partitions)

    same()


class Silly:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "fields",
    [
        {"value_minor": 10**5000},
        {"confidence": 10**5000},
        {"observed_at_ms": 10**5000},
        {"id": b"x" * 10**6},
        {"entity": Silly()},
        {"attributes": {"a\nb" * 1000: float("nan")}},
        {"attributes": {Silly(): 1}},
        {"action": {"x" * 10**6: {"y" * 10**6: [object()]}}},
        {"id": circle},
    ],
)
def test_whatever_is_refused_is_told_in_a_short_line(fields: dict[str, Any]) -> None:
    with pytest.raises(KitError) as refused:
        encode(Decision(**{**LEAST, **fields}), NOW_MS)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400
