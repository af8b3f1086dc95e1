"""The whole path: whatever comes in, exactly one record each goes out, in order, valid, and with its reason."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.common import DEPTH_MAX
from schemas.generate import FAMILIES, FOLDER
from schemas.reasons import COMMAND_REASONS, EXCEPTION_REASONS, REVIEW_REASONS
from streams import ingest
from streams.batch import Decided, Fetched, Refused, Sent
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.strict_json import examine
from streams.window import Window
from tests.corpus.cases import CASES
from tests.streams.making import (
    BILLING,
    BUDGET_MS,
    NOW_MS,
    SMALL_AND_SURE,
    decided,
    decision,
    encoded,
    fetched,
    outcomes,
    policy,
    successor,
)

VALIDATORS = {
    name: jsonschema.Draft202012Validator(orjson.loads((FOLDER / f"{name}.schema.json").read_bytes()))
    for name in FAMILIES
}
FAMILY = {"commands": "command", "reviews": "review", "exceptions": "exception"}
REASONS = {"commands": COMMAND_REASONS, "reviews": REVIEW_REASONS, "exceptions": EXCEPTION_REASONS}
# every field that a rule can name is asked for, so that any value of any field reaches a comparison
CURIOUS = policy(
    [
        {
            "name": "no",
            "then": "block",
            "when": {
                "attributes.a": {"at_least": 5, "not_in": ["x", True]},
                "value_minor": {"over": 0, "currency": "EUR"},
            },
        },
        {"name": "ask", "then": "escalate", "when": {"action_type": {"in": ["a", "b"]}, "model": {"not_in": ["m"]}}},
        {
            "name": "small",
            "then": "autonomous",
            "when": {"segment": {"equals": "s"}},
            "limits": SMALL_AND_SURE["limits"],
        },
        {"name": "any", "then": "autonomous", "when": {"reversible": {"equals": True}, "proposer": {"not_in": []}}},
        SMALL_AND_SURE,
    ]
)


def check(batch: Fetched, found: Decided) -> None:
    """Every promise about a batch's outputs that can be seen in them."""
    assert len(found.records) == len(batch)
    for index, sent in enumerate(found.records):
        record = strictly(sent.value)
        VALIDATORS[FAMILY[sent.output]].validate(record)
        reasons = record["reasons"] if sent.output == "reviews" else [record["reason"]]
        assert set(reasons) <= set(REASONS[sent.output])
        assert record["source"] == {"topic": batch.topic, "partition": 2, "offset": batch.offsets[index]}
        assert (record["kind"], record["gated_at_ms"], sent.key) == ("disposition", NOW_MS, batch.keys[index])
        accepted(batch, index, sent, record)
    assert sum(found.counts.values()) == len(batch)


def accepted(batch: Fetched, index: int, sent: Sent, record: dict[str, Any]) -> None:
    """What was read as a decision is one by the strictest reading too, and goes out as it came."""
    if record.get("decision_id") is None:
        return
    value = batch.values[index]
    assert value is not None
    strictly(value)
    raw = msgspec.json.decode(sent.value, type=dict[str, msgspec.Raw])
    if sent.output == "commands":
        came = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        assert bytes(raw["action"]) == bytes(came["action"])
        assert record["deadline_ms"] > NOW_MS
        assert sum(record["stages_ms"].values()) == record["age_ms"]
    else:
        assert bytes(raw["decision"]).strip() == value.strip(b" \t\r\n")


def strictly(value: bytes) -> dict[str, Any]:
    """As the pickiest reader would: orjson for numbers, surrogates and UTF-8, json for keys that stand twice."""
    orjson.loads(value)
    assert b"\xef\xbb\xbf" not in value or b"\\ufeff" in value or b'"raw"' in value
    top = json.loads(value, object_pairs_hook=Pairs, parse_constant=refuse)
    assert isinstance(top, Pairs)
    unique(top)
    for name, inner in top:
        if name == "attributes" and isinstance(inner, Pairs):
            unique(inner)
        if name == "action" and isinstance(inner, Pairs):
            assert sum(key == "type" for key, _ in inner) <= 1
    plain: dict[str, Any] = json.loads(value)
    return plain


class Pairs(list[tuple[str, Any]]):
    pass


def unique(pairs: Pairs) -> None:
    assert len({name for name, _ in pairs}) == len(pairs)


def refuse(constant: str) -> None:
    raise AssertionError(constant)


def test_a_mixed_batch_goes_out_in_order_one_record_each() -> None:
    batches = [
        fetched(
            [
                decision(1),
                b"bad",
                decision(1),
                decision(2, confidence=0.1),
                decision(3, observed_at_ms=NOW_MS - BUDGET_MS),
                decision(4, expires_at_ms=NOW_MS),
                None,
                decision(5, workflow="nobody"),
            ]
        ),
        fetched([successor("d-1"), successor("d-7")], source="successors"),
    ]
    found = decided(batches)
    assert outcomes(found) == [
        "commands",
        "invalid.json",
        "duplicate.repeat",
        "reviews: confidence_below",
        "stale.age",
        "stale.expired",
        "invalid.empty",
        "invalid.unknown_workflow",
        "duplicate.conflict",
        "commands",
    ]
    assert found.counts == {
        ("billing", "commands", "within_bounds"): 2,
        ("", "exceptions", "invalid.json"): 1,
        ("billing", "exceptions", "duplicate.repeat"): 1,
        ("billing", "reviews", "confidence_below"): 1,
        ("billing", "exceptions", "stale.age"): 1,
        ("billing", "exceptions", "stale.expired"): 1,
        ("", "exceptions", "invalid.empty"): 1,
        ("", "exceptions", "invalid.unknown_workflow"): 1,
        ("billing", "exceptions", "duplicate.conflict"): 1,
    }
    assert found.gated_at_ms == NOW_MS


def test_the_earliest_deadline_is_that_of_the_commands() -> None:
    batch = fetched([decision(1), decision(2, expires_at_ms=NOW_MS + 9), decision(3, expires_at_ms=0), b"bad"])
    assert decided(batch).earliest_deadline_ms == NOW_MS + 9
    assert decided(fetched([decision(confidence=0, expires_at_ms=NOW_MS + 9), None])).earliest_deadline_ms is None


def test_an_empty_batch_is_nothing() -> None:
    found = decided(fetched([]))
    assert (found.records, found.counts, found.remembered.entries) == ([], {}, {})


def test_a_batch_decided_again_before_its_commit_gives_the_same() -> None:
    """Until the commit the window knows nothing of it; later, it is decided by the later clock."""
    memory, policies = Memory(), Snapshot([BILLING])
    batch = fetched([decision(1, expires_at_ms=NOW_MS + 50), decision(2), decision(1)])
    first, second = decide([batch], NOW_MS, policies, memory), decide([batch], NOW_MS, policies, memory)
    assert first == second
    late = decide([batch], NOW_MS + 50, policies, memory)
    assert outcomes(late) == ["stale.expired", "commands", "commands"], "what expired came to nothing; its repeat may"


def test_a_batch_is_decided_as_its_parts_would_be() -> None:
    """Coalescing changes nothing: many small batches give the records of one large one."""
    values = [case.at(NOW_MS) for case in CASES if case.input == "decisions"]
    keys = [case.key for case in CASES if case.input == "decisions"]
    whole = fetched([*values, *values[:50]], [*keys, *keys[:50]])
    together = decided(whole, [CURIOUS])
    window, parts = Window(), list[Sent]()
    for index in range(len(whole)):
        part = fetched([whole.values[index]], [whole.keys[index]], first_offset=index)
        parts += decided(part, [CURIOUS], window).records
    assert parts == together.records
    check(whole, together)


def test_a_root_never_gets_two_commands_in_whatever_order_its_records_come() -> None:
    several = [decision(1), decision(1, value_minor=7), successor("d-1"), successor("d-1", 3), successor("d-1", 4)]
    for turn in range(len(several)):
        window, seen = Window(), Counter[str]()
        for one in several[turn:] + several[:turn]:
            source: Any = "successors" if "root_id" in one else "decisions"
            seen.update(outcomes(decided(fetched([one], source=source), window=window)))
        assert seen["commands"] == 1


def drawn_json() -> st.SearchStrategy[Any]:
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=8)
        | st.sampled_from(["billing", "acct-17", "USD", "EUR", "a", "d-1", "d-1~2", NOW_MS, 0, 1, -1])
    )
    names = st.text(max_size=4) | st.sampled_from(FIELDS)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
    )


FIELDS = [
    *("id", "workflow", "entity", "action", "observed_at_ms", "decided_at_ms", "sent_at_ms", "confidence"),
    *("value_minor", "currency", "model", "proposer", "context_version", "expires_at_ms", "reversible", "segment"),
    *("attributes", "type", "a", "root_id", "attempt", "first_observed_at_ms", "final_deadline_ms", "cause"),
    *("source", "caused_by", "note"),
]
KEYS = st.sampled_from([b"acct-17", b"acct-17", b"acct-17", b"x", b"", None])


def fuzzed(value: bytes | None, key: bytes | None) -> None:
    """As a decision and as a successor: both must be answered."""
    for source in ("decisions", "successors"):
        batch = fetched([value, value], [key, key], source=source)
        check(batch, decided(batch, [CURIOUS]))


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), KEYS)
def test_arbitrary_bytes_are_answered(value: bytes, key: bytes | None) -> None:
    fuzzed(value, key)


@given(drawn_json(), KEYS, st.booleans())
def test_arbitrary_json_is_answered(value: Any, key: bytes | None, ascii_only: bool) -> None:
    fuzzed(json.dumps(value, ensure_ascii=ascii_only).encode(), key)


BASES = [decision(), decision(attributes={"a": 7, "b": "x"}, segment="s", model="é", proposer="p"), successor()]


@given(st.sampled_from(BASES), st.dictionaries(st.sampled_from(FIELDS), drawn_json(), max_size=4), KEYS)
def test_decisions_with_arbitrary_fields_are_answered(base: dict[str, Any], change: Any, key: bytes | None) -> None:
    fuzzed(encoded({**base, **change}), key)


PIECES = [
    *(b'"', b"\\", b"\\\\", b"{", b"}", b"[", b"]", b":", b",", b" ", b"\n", b"-", b"e", b"~", b"\x00", b"\xff"),
    *(b"\xef\xbb\xbf", b"\\u0000", b"\\ud83d", b"\\ude00", b"\\ud83d\\ude00", b"\\u0022", b"NaN", b"Infinity"),
    *(b"null", b"true", b"1e400", b"1" * 301, b"1" * 300, b'"type":1,', b'"type":"a","type":"b",', b'"id":"e",'),
    *(b'"\\u0069d":1,', b'"attributes":{"a":1,"a":2},', b'"root_id":"r",', b'"":0,', b"[" * 65 + b"]" * 65),
    *('"é":1,'.encode(), "\ufeff".encode(), "\ud800".encode("utf-8", "surrogatepass")),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid decision with a few bytes flipped, cut out, doubled, or something nasty put in."""
    value = encoded(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value)))
        kind = draw(st.sampled_from(["insert", "flip", "cut", "drop", "double", "after"]))
        if kind == "insert":
            value = value[:at] + draw(st.sampled_from(PIECES)) + value[at:]
        elif kind == "flip":
            value = value[:at] + bytes([draw(st.integers(0, 255))]) + value[at + 1 :]
        elif kind == "cut":
            value = value[:at]
        elif kind == "drop":
            value = value[:at] + value[at + draw(st.integers(1, 9)) :]
        elif kind == "double":
            value = value[:at] + value[at : at + draw(st.integers(1, 40))] + value[at:]
        else:
            # where it is likely to be grammar still: after a comma or a brace
            places = [found.end() for found in re.finditer(rb"[,{]", value)] or [0]
            place = draw(st.sampled_from(places))
            value = value[:place] + draw(st.sampled_from(PIECES)) + value[place:]
    return value


@given(mutated(), KEYS)
def test_mutated_decisions_are_answered(value: bytes, key: bytes | None) -> None:
    fuzzed(value, key)


@given(mutated() | drawn_json().map(json.dumps).map(str.encode))
@example(b'{"id":"d","workflow":"w","entity":"e","action":1,"observed_at_ms":1,"":1,"":2}')
@example(b'{"id":"d","workflow":"w","entity":"e","action":%s,"observed_at_ms":1}' % (b"1" * 301))
@example(b'{"id":"d","workflow":"w","entity":"e","action":%s,"observed_at_ms":1}' % (b"[" * 64 + b"]" * 64))
@example(b'{"id":"d","workflow":"w","entity":"e","action":{"type":1,"t\\u0079pe":1},"observed_at_ms":1}')
def test_the_cheap_proof_holds_only_where_the_slow_road_finds_nothing(value: bytes) -> None:
    """Read by the slow road alone, every value gets the same answer."""
    for source in ("decisions", "successors"):
        found = ingest.read(value, source)
        problem = examine(value) if value else None
        if isinstance(found, Refused):
            assert problem is None or not value or problem == found
        else:
            assert problem is None


@pytest.mark.parametrize("position", range(0, 460, 7))
@pytest.mark.parametrize("digits", [300, 301, 451])
def test_the_cheap_proof_sees_a_long_number_wherever_it_stands(position: int, digits: int) -> None:
    """It looks at every 150th byte only; the number is moved past all of them."""
    value = b'{"id":"d-1","workflow":"billing","entity":"acct-17","observed_at_ms":1,"note":"%s","action":%s}' % (
        b"x" * position,
        b"1" * digits,
    )
    found = ingest.read(value, "decisions")
    assert isinstance(found, Refused) is (digits > 300)


def test_a_decision_of_the_deepest_nesting_makes_outputs_that_are_read() -> None:
    deep = "leaf"
    action: Any = deep
    for _ in range(DEPTH_MAX - 1):
        action = [action]
    batch = fetched([decision(1, action=action), decision(2, action=copy.deepcopy(action), confidence=0)])
    check(batch, decided(batch))
