"""Publish: what a reader of the outputs gets, identifiers and bytes above all."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any

import pytest

from schemas.common import RAW_BYTES_MAX, VALUE_BYTES_MAX
from tests.streams.making import (
    BILLING,
    BUDGET_MS,
    NOW_MS,
    decided,
    decision,
    encoded,
    fetched,
    only,
    policy,
    successor,
)


def h(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


def test_a_command_has_every_field_of_the_contract() -> None:
    made = decision(model="rater@7", segment="fleet-2", decided_at_ms=NOW_MS - 900, sent_at_ms=NOW_MS - 50)
    found = decided(fetched([made], first_offset=9_917))
    assert found.records[0].output == "commands" and found.records[0].key == b"acct-17"
    assert only(found) == {
        "command_id": "c-" + h("sluicegate:d-1"),
        "decision_id": "d-1",
        "workflow": "billing",
        "entity": "acct-17",
        "action": {"type": "invoice.post", "amount": 12.5},
        "gated_at_ms": NOW_MS,
        "deadline_ms": NOW_MS - 1_000 + BUDGET_MS,
        "age_ms": 1_000,
        "stages_ms": {"inference": 100, "producer": 850, "transport": 30, "queue": 15, "gate": 5},
        "kind": "disposition",
        "authority": "autonomous",
        "authority_version": 0,
        "policy": "billing@3",
        "rule": "small-and-sure",
        "reason": "within_bounds",
        "context_version_seen": None,
        "attempt": 1,
        "value_minor": 1_250,
        "currency": "USD",
        "model": "rater@7",
        "segment": "fleet-2",
        "review_id": None,
        "caused_by": None,
        "source": {"topic": "t.decisions", "partition": 2, "offset": 9_917},
    }


def test_a_review_has_every_field_of_the_contract() -> None:
    made = decision(confidence=0.5)
    found = decided(fetched([made], first_offset=7))
    deadline_ms = NOW_MS - 1_000 + BUDGET_MS
    assert found.records[0].output == "reviews"
    assert only(found) == {
        "review_id": "r-2-" + h("review:t.decisions/2/7"),
        "kind": "disposition",
        "decision_id": "d-1",
        "workflow": "billing",
        "entity": "acct-17",
        "reasons": ["confidence_below"],
        "queue": "billing",
        "quorum": 1,
        "action_digest": "sha256:" + sha256(b'{"type": "invoice.post", "amount": 12.5}').hexdigest(),
        "gated_at_ms": NOW_MS,
        "fresh_until_ms": deadline_ms,
        "escalate_at_ms": NOW_MS + (deadline_ms - NOW_MS) // 2,
        "deadline_ms": deadline_ms,
        "final_deadline_ms": deadline_ms,
        "on_timeout": "reject",
        "policy": "billing@3",
        "rule": "small-and-sure",
        "age_ms": 1_000,
        "stages_ms": {"transport": 980, "queue": 15, "gate": 5},
        "attempt": 1,
        "decision": made,
        "caused_by": None,
        "source": {"topic": "t.decisions", "partition": 2, "offset": 7},
    }


def test_an_exception_of_a_decision_has_every_field_of_the_contract() -> None:
    made = decision(observed_at_ms=NOW_MS - BUDGET_MS)
    found = decided(fetched([made], first_offset=7))
    value = encoded(made)
    assert found.records[0].output == "exceptions"
    assert only(found) == {
        "exception_id": "x-" + h("exception:t.decisions/2/7:stale.age"),
        "kind": "disposition",
        "decision_id": "d-1",
        "workflow": "billing",
        "entity": "acct-17",
        "reason": "stale.age",
        "stage": "freshness",
        "detail": "observed 600000 ms ago; the budget is 600000 ms",
        "age_ms": BUDGET_MS,
        "budget_ms": BUDGET_MS,
        "policy": "billing@3",
        "rule": None,
        "attempt": 1,
        "first_reason": "stale.age",
        "fingerprint": None,
        "value_minor": 1_250,
        "currency": "USD",
        "caused_by": None,
        "gated_at_ms": NOW_MS,
        "deadline_ms": NOW_MS,
        "final_deadline_ms": NOW_MS,
        "stages_ms": {"transport": BUDGET_MS - 20, "queue": 15, "gate": 5},
        "decision": made,
        "raw": None,
        "raw_sha256": sha256(value).hexdigest(),
        "raw_bytes": len(value),
        "source": {"topic": "t.decisions", "partition": 2, "offset": 7},
        "trace": [],
    }


def test_what_is_no_decision_has_its_bytes_and_nothing_that_was_not_read() -> None:
    record = only(decided(fetched([b'{"id": "d-1"'], [None])))
    for field in ("decision", "decision_id", "workflow", "entity", "age_ms", "policy", "attempt", "stages_ms"):
        assert record[field] is None
    assert (record["raw"], record["raw_bytes"]) == ('{"id": "d-1"', 12)
    assert record["raw_sha256"] == sha256(b'{"id": "d-1"').hexdigest()


def test_a_successor_has_its_roots_command_id_and_its_attempt() -> None:
    record = only(decided(fetched([successor("d-9", attempt=3)], source="successors")))
    assert (record["command_id"], record["decision_id"]) == ("c-" + h("sluicegate:d-9"), "d-9~3")
    assert (record["attempt"], record["source"]["topic"]) == (3, "t.successors")


def test_the_first_reason_of_a_successor_is_its_cause() -> None:
    late = successor(final_deadline_ms=NOW_MS, cause="stale.context")
    record = only(decided(fetched([late], source="successors")))
    assert (record["reason"], record["first_reason"], record["attempt"]) == ("stale.age", "stale.context", 2)


def test_bounded_clocks_are_named_on_every_output() -> None:
    late = {"sent_at_ms": NOW_MS + 50}
    batch = fetched([decision(1, **late), decision(2, confidence=0, **late), decision(3, expires_at_ms=0, **late)])
    for sent in decided(batch).records:
        assert b'"clock_adjusted":["sent_at_ms","broker_time_ms","read_ms"]' in sent.value


def raw_of(value: bytes | None) -> dict[str, Any]:
    record = only(decided(fetched([value])))
    assert record["raw_bytes"] == len(value or b"")
    assert record["raw_sha256"] == sha256(value or b"").hexdigest()
    return record


def test_a_tombstone_and_an_empty_value_are_told_apart() -> None:
    assert (raw_of(None)["raw"], raw_of(None)["detail"]) == (None, "a tombstone: the value is null")
    assert (raw_of(b"")["raw"], raw_of(b"")["detail"]) == ("", "the value is empty")


def test_text_is_carried_as_it_is() -> None:
    for text in ("no json", "\x00\x1f\\\"'", "é\ufeff", "\u2028", "\U0001f600"):
        record = raw_of(text.encode())
        assert record["raw"] == text
        assert "raw_base64" not in record


def test_what_is_not_utf_8_is_carried_as_base64() -> None:
    for value in (b"\xff\xfe", b"caf\xe9", b"\xe2\x82"):
        record = raw_of(value)
        assert record["raw"] is None
        assert base64.b64decode(record["raw_base64"]) == value


@pytest.mark.parametrize("character", ["x", "é", "€", "\U0001f600"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_long_text_is_cut_at_64_kib_between_two_characters(character: str, shift: int) -> None:
    text = "x" * shift + character * RAW_BYTES_MAX
    record = raw_of(text.encode()[:VALUE_BYTES_MAX] if character == "x" else text.encode())
    cut = record["raw"].encode()
    assert text.encode().startswith(cut)
    assert RAW_BYTES_MAX - len(character.encode()) < len(cut) <= RAW_BYTES_MAX


@pytest.mark.parametrize("size", [RAW_BYTES_MAX - 1, RAW_BYTES_MAX, RAW_BYTES_MAX + 1])
def test_the_cut_begins_beyond_64_kib(size: int) -> None:
    assert len(raw_of(b"x" * size)["raw"]) == min(size, RAW_BYTES_MAX)


def test_long_bytes_that_are_not_utf_8_are_cut_too() -> None:
    broken_early = raw_of(b"\xff" + b"x" * RAW_BYTES_MAX)
    assert base64.b64decode(broken_early["raw_base64"]) == b"\xff" + b"x" * (RAW_BYTES_MAX - 1)
    broken_at_the_end = raw_of(b"x" * (RAW_BYTES_MAX - 2) + b"\xe2x" + b"x" * 9)
    assert len(base64.b64decode(broken_at_the_end["raw_base64"])) == RAW_BYTES_MAX
    ends_inside = raw_of(b"x" * (RAW_BYTES_MAX - 1) + b"\xe2")
    assert base64.b64decode(ends_inside["raw_base64"])[-1:] == b"\xe2"


ACTIONS = [
    b'{ "type" : "a",\n\t"n": 1.0 }',
    b'{"n":1,"m":1.0,"e":1E+2,"z":-0.0,"big":123456789012345678901234567890}',
    b'{"text":"\\u00e9\\/\\n","raw":"\xc3\xa9/","pair":"\\ud83d\\ude00"}',
    b'{"a":{"x":1,"y":2},"b":3}',
    b'"a string"',
    b"null",
    b'[ {"n": 1.0} ]',
    b"1.10",
    b"9" * 300,
]


@pytest.mark.parametrize("action", ACTIONS)
def test_action_and_decision_travel_byte_for_byte(action: bytes) -> None:
    value = (
        b' { "id":"d-1" , "workflow":"billing","entity":"acct-17",\n "observed_at_ms":%d, "action" : %s , "x":1.0}\n'
    )
    value %= (NOW_MS, action)
    runs = policy([{"name": "all", "then": "autonomous"}])
    (command,) = decided(fetched([value]), [runs]).records
    assert b'"action":' + action + b',"deadline_ms"' in command.value
    (review,) = decided(fetched([value]), [policy()]).records
    assert b'"decision":' + value + b',"caused_by"' in review.value
    assert b'"action_digest":"sha256:' + sha256(action).hexdigest().encode() + b'"' in review.value
    (exception,) = decided(fetched([value]), [policy([{"name": "no", "then": "block"}])]).records
    assert b'"decision":' + value + b',"raw":null' in exception.value


def test_an_input_of_the_largest_size_makes_outputs_that_can_be_sent() -> None:
    """Output topics take 2 MiB: control characters grow sixfold, but only 64 KiB of them."""
    worst = [b"\x01" * VALUE_BYTES_MAX, b"\xff" * (4 * VALUE_BYTES_MAX), b'"' * VALUE_BYTES_MAX]
    room = VALUE_BYTES_MAX - len(encoded(decision(note="")))
    worst.append(encoded(decision(note="x" * room)))
    for value in worst:
        (sent,) = decided(fetched([value])).records
        assert len(sent.value) < 1_000_000
    assert BILLING.name == "billing@3"
