"""Every way in which an output may differ from its input is `altered`, counted once, and said in words."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.agents.audit.records import (
    DEADLINE_MS,
    GATED_MS,
    Rec,
    Text,
    command,
    decision,
    exception,
    found,
    h,
    judged,
    raw,
    review,
)


def wrong(given: Rec, output: Rec) -> str:
    """What the audit says about one altered output; only `altered` moves, by one."""
    result = judged([given], [output])
    assert found(result) == {"altered": 1}
    return result.examples["altered"][0].wrong


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"type": "invoice.post"', '"type": "invoice.void"'),
        ('",  "amount"', '", "amount"'),
        ("1.50", "1.5"),
        ("1e2", "100"),
        ("1e2", "1E2"),
        ("\\u0041na", "Ana"),
        ('"n": 1e2, "who": "\\u0041na"', '"who": "\\u0041na", "n": 1e2'),
    ],
)
def test_an_action_that_is_not_byte_for_byte_the_inputs_is_altered(before: str, after: str) -> None:
    given = decision(0)
    assert wrong(given, command(given).rewritten(before, after)) == "its action is not the input's, byte for byte"


@pytest.mark.parametrize(
    "written",
    [
        b'{ "id" : "d-1" ,\n"workflow":"w","entity":"e","note":"\\"action\\": 1","x":{"action":2},'
        b' "act\\u0069on" :\t [1.0,  "a\\\\"] , "observed_at_ms":1763999999000} ',
        '{"id":"d-1","workflow":"w","entity":"é\u2028",'
        '"action":"\U0001f600 é","observed_at_ms":1763999999000}'.encode(),
        b'{"id":"d-1","workflow":"w","entity":"e","action":null,"observed_at_ms":1763999999000}',
        b'{"id":"d-1","workflow":"w","entity":"e","observed_at_ms":1763999999000,"action":-0.0e-0}',
    ],
)
def test_the_action_is_found_however_the_input_is_written(written: bytes) -> None:
    given = raw(0, written)
    slices = {b"[1.0": '[1.0,  "a\\\\"]', b"\xf0": '"\U0001f600 é"', b"null": "null", b"-0.0": "-0.0e-0"}
    text = next(text for sign, text in slices.items() if sign in written)
    good = command(given).changed(action=Text(text))
    assert found(judged([given], [good])) == {}
    assert "action" in wrong(given, command(given).changed(action=Text(f"[{text}]")))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"command_id": "c-" + h("sluicegate:other")}, "command_id"),
        ({"decision_id": "d-other"}, "decision_id"),
        ({"workflow": "routing"}, "workflow"),
        ({"entity": "acct-18"}, "entity"),
        ({"value_minor": 125051}, "value_minor"),
        ({"value_minor": 125050.0}, "value_minor"),
        ({"value_minor": None}, "value_minor"),
        ({"currency": "EUR"}, "currency"),
        ({"model": "rater"}, "model"),
        ({"model": []}, "model"),
        ({"segment": None}, "segment"),
        ({"age_ms": 162}, "age_ms"),
        ({"age_ms": None}, "age_ms"),
        ({"gated_at_ms": str(GATED_MS)}, "gated_at_ms"),
        ({"deadline_ms": True}, "deadline_ms"),
        ({"stages_ms": {"gate": 162}}, "stages_ms"),
        ({"stages_ms": {"queue": -1, "gate": 164}}, "stages_ms"),
        ({"stages_ms": {"gate": 163.0}}, "stages_ms"),
        ({"stages_ms": None}, "stages_ms"),
    ],
)
def test_a_commands_field_that_is_not_its_inputs_is_altered(fields: dict[str, Any], said: str) -> None:
    given = decision(0)
    assert said in wrong(given, command(given).changed(**fields))


def test_an_absent_field_is_null() -> None:
    given = decision(0, value_minor=None, currency=None, model="m", segment=None)
    assert found(judged([given], [command(given)])) == {}


@pytest.mark.parametrize("make", [command, review, exception])
def test_another_partition_or_key_than_the_inputs_is_altered(make: Any) -> None:
    given = decision(0)
    assert "partition" in wrong(given, replace(make(given), partition=1))
    assert "key" in wrong(given, replace(make(given), key=b"acct-18"))
    assert "key" in wrong(given, replace(make(given), key=None))


def test_an_empty_key_is_not_no_key() -> None:
    given = raw(0, b"?", key=None)
    assert "key" in wrong(given, replace(exception(given, "invalid.json"), key=b""))


def test_a_deadline_past_the_inputs_own_is_altered() -> None:
    limits: list[dict[str, Any]] = [{"expires_at_ms": DEADLINE_MS - 1}, {"final_deadline_ms": DEADLINE_MS - 1}]
    for limit in limits:
        given = decision(0, **limit)
        assert "deadline_ms" in wrong(given, command(given))
        at_the_limit = command(given).changed(deadline_ms=DEADLINE_MS - 1)
        assert found(judged([given], [at_the_limit])) == {}


def test_an_observation_after_the_gates_clock_has_age_0() -> None:
    given = decision(0, observed_at_ms=GATED_MS + 40)
    good = command(given).changed(age_ms=0, stages_ms={})
    assert found(judged([given], [good])) == {}
    assert "age_ms" in wrong(given, good.changed(age_ms=-40, stages_ms={"gate": -40}))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b'{"id":"d","entity":"e","action":NaN,"observed_at_ms":1}', "not a JSON object"),
        (b'{"id":"d","entity":"e","action":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not a JSON object"),
        (b'{"id":"d","entity":"e","action":' + b"9" * 5_000 + b"}", "not a JSON object"),
        (b'\xef\xbb\xbf{"id":"d","entity":"e","action":1,"observed_at_ms":1}', "not a JSON object"),
        (b'{"entity":"e","action":1,"observed_at_ms":1}', "lacks"),
        (b'{"id":"d","entity":"","action":1,"observed_at_ms":1}', "lacks"),
        (b'{"id":"d","entity":"e","observed_at_ms":1}', "lacks"),
        (b'{"id":"d","entity":"e","action":1,"observed_at_ms":true}', "observed_at_ms"),
        (b'{"id":"d","entity":"e","action":1,"observed_at_ms":1,"expires_at_ms":' + b"9" * 30 + b"}", "observed_at_ms"),
        (b'{"id":"d","entity":"e","action":1,"observed_at_ms":1,"id":"d"}', "twice"),
    ],
)
def test_neither_a_command_nor_a_review_may_rest_on_what_is_no_decision(value: bytes, said: str) -> None:
    given = raw(0, value)
    output = command(decision(0))
    for made in (output, review(decision(0))):
        assert said in wrong(given, replace(made, key=given.key))
    assert found(judged([given], [exception(given, "invalid.schema")])) == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"review_id": "r-1-" + h("review:t.decisions/0/0")}, "review_id"),
        ({"review_id": "r-0-" + h("review:t.decisions/0/1")}, "review_id"),
        ({"action_digest": "sha256:" + hashlib.sha256(b"{}").hexdigest()}, "action_digest"),
        ({"decision": None}, "no decision"),
        ({"decision_id": "d-9"}, "decision_id"),
        ({"entity": "acct-18"}, "entity"),
    ],
)
def test_a_reviews_field_that_is_not_its_inputs_is_altered(fields: dict[str, Any], said: str) -> None:
    given = decision(0)
    good = review(given)
    assert given.value is not None
    kept = {"decision": Text(given.value.decode())}
    assert said in wrong(given, good.changed(**(kept | fields)))


@pytest.mark.parametrize("make", [review, exception])
def test_a_decision_carried_otherwise_than_byte_for_byte_is_altered(make: Any) -> None:
    given = decision(0)
    for before, after in [("1.50", "1.5"), ("125050", "125051"), ('"USD","segment"', '"USD", "segment"')]:
        assert wrong(given, make(given).rewritten(before, after)).startswith("its decision is not its input")


def test_space_around_a_decision_is_no_part_of_it() -> None:
    given = decision(0)
    assert given.value is not None
    spaced = replace(given, value=b" \n" + given.value + b"\r\t")
    assert found(judged([spaced], [review(spaced)])) == {}
    assert found(judged([spaced], [exception(spaced)])) == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exception_id": "x-" + h("exception:t.decisions/0/1:invalid.json")}, "exception_id"),
        ({"reason": "invalid.schema"}, "exception_id"),
        ({"raw_sha256": hashlib.sha256(b"").hexdigest()}, "raw_sha256"),
        ({"raw_bytes": 8}, "raw_bytes"),
        ({"raw_bytes": True}, "raw_bytes"),
        ({"raw": "{not jsoN"}, "beginning"),
        ({"raw": "{not js"}, "7 of 9 bytes"),
        ({"raw": None}, "neither"),
        ({"raw": "\ud800"}, "cannot be read"),
        ({"raw": 5}, "cannot be read"),
    ],
)
def test_an_exceptions_field_that_is_not_its_inputs_is_altered(fields: dict[str, Any], said: str) -> None:
    given = raw(0, b"{not json")
    assert said in wrong(given, exception(given, "invalid.json").changed(**fields))


def test_what_is_shed_under_overload_and_nothing_else_may_leave_its_bytes_behind() -> None:
    given = decision(0)
    shed = exception(given, "shed.overload").changed(raw=None)
    assert found(judged([given], [shed])) == {}
    assert "raw_sha256" in wrong(given, shed.changed(raw_sha256="0" * 64))
    assert "raw_bytes" in wrong(given, shed.changed(raw_bytes=1))
    assert "raw" in wrong(given, shed.changed(raw="something else"))
    assert "decision" in wrong(given, shed.changed(decision={"id": "another"}))
    assert "neither" in wrong(given, exception(given, "shed.capacity").changed(raw=None))


def test_a_tombstone_has_no_bytes_to_carry() -> None:
    given = raw(0, None)
    good = exception(given, "invalid.empty")
    assert found(judged([given], [good])) == {}
    assert "tombstone" in wrong(given, good.changed(raw=""))
    empty = raw(0, b"")
    assert found(judged([empty], [exception(empty, "invalid.empty")])) == {}
    assert found(judged([empty], [exception(empty, "invalid.empty").changed(raw=None)])) == {}


@pytest.mark.parametrize("tail", ["é", "€", "\U0001f600", "x"])
@pytest.mark.parametrize("shift", range(4))
def test_a_long_raw_is_cut_at_64_kib_on_a_character_or_it_is_altered(tail: str, shift: int) -> None:
    text = "x" * (64 * 1024 - shift) + tail * 10
    given = raw(0, text.encode())
    good = exception(given, "invalid.json")
    assert found(judged([given], [good])) == {}
    cut = text.encode()[: 64 * 1024].decode(errors="ignore")
    assert "beginning" in wrong(given, good.changed(raw="y" + cut[1:]))
    assert "may be cut" in wrong(given, good.changed(raw=cut[:-9]))


def test_bytes_that_are_not_utf8_come_as_base64() -> None:
    given = raw(0, b"\xff" * 70_000)
    good = exception(given, "invalid.encoding")
    assert found(judged([given], [good])) == {}
    other = base64.b64encode(b"\xfe" * 64 * 1024).decode()
    assert "beginning" in wrong(given, good.changed(raw_base64=other))
    assert "cannot be read" in wrong(given, good.changed(raw_base64="?"))


def test_a_field_named_twice_in_an_output_is_altered() -> None:
    given = decision(0)
    assert "twice" in wrong(given, command(given).rewritten('"kind"', '"entity":"acct-17","kind"'))
