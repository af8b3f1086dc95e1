"""Inputs that are CloudEvents: judged by the decision in them and by what their attributes say."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings

from agents.audit.events import epoch_ms
from streams.headers import HeaderSettings
from streams.memory import Memory
from streams.path import Snapshot, decide
from tests.agents.audit.records import (
    DEADLINE_MS,
    OBSERVED_MS,
    SUCCESSORS,
    Rec,
    command,
    decision,
    exception,
    found,
    judged,
    raw,
    review,
)
from tests.streams.events import HEADERS, STRUCTURED, VALUES, Pairs, binary, envelope
from tests.streams.making import BILLING, NOW_MS, encoded, fetched
from tests.streams.making import decision as proposed

DEADLINE = "2025-11-24T16:10:00Z"  # DEADLINE_MS


def beside(given: Rec, **attributes: str | None) -> Rec:
    """The input with an event's attributes in its headers."""
    return replace(given, headers=tuple(binary(**attributes)))


def around(given: Rec, **attributes: Any) -> Rec:
    """The input as the `data` of a structured event."""
    named = {"specversion": "1.0", "id": "e-1", "source": "/rater", "type": "decision", **attributes}
    head = json.dumps({name: value for name, value in named.items() if value is not ...})[:-1].encode()
    assert given.value is not None
    return replace(given, value=head + b',\n "data" : ' + given.value + b" }", headers=tuple(STRUCTURED))


def answer(make: Any, plain: Rec, event: Rec) -> Rec:
    """What a faithful gate makes of the event: as of the plain decision; of an exception, the hash is the event's."""
    output: Rec = make(plain)
    if make is not exception:
        return output
    assert event.value is not None
    whole = {"raw_sha256": hashlib.sha256(event.value).hexdigest(), "raw_bytes": len(event.value)}
    assert plain.value is not None and output.value is not None
    carried = plain.value.decode()
    fields = json.loads(output.value) | whole
    text = json.dumps(fields | {"decision": "?"}).replace('"?"', carried)
    return replace(output, value=text.encode())


def wrong(given: Rec, output: Rec) -> str:
    result = judged([given], [output])
    assert found(result) == {"altered": 1}
    return result.examples["altered"][0].wrong


@pytest.mark.parametrize("wrap", [beside, around])
@pytest.mark.parametrize("make", [command, review, exception])
def test_an_event_is_judged_by_the_decision_in_it(wrap: Any, make: Any) -> None:
    plain = decision(0)
    event = wrap(plain)
    good = answer(make, plain, event)
    assert found(judged([event], [good])) == {}
    assert wrong(event, good.rewritten("1.50", "1.5"))
    assert wrong(
        event,
        good.rewritten('"value_minor":125050', '"value_minor":9')
        if make is exception
        else good.changed(decision_id="d-9"),
    )


def test_a_structured_event_is_not_itself_the_decision() -> None:
    """What is carried as `decision` is its data; the hash and the length of an exception are those of the whole."""
    plain = decision(0)
    event = around(plain)
    assert event.value is not None
    whole = review(plain).rewritten(plain.value.decode() if plain.value else "", event.value.decode())
    assert wrong(event, whole).startswith("its decision is not its input")
    assert wrong(event, exception(plain)) == "its raw_sha256 is not that of its input"
    refused = raw(0, event.value)
    assert found(judged([event], [replace(exception(refused, "invalid.key"), key=event.key)])) == {}


@pytest.mark.parametrize("wrap", [beside, around])
def test_a_command_may_not_outlive_its_event(wrap: Any) -> None:
    plain = decision(0)
    good = command(plain)
    assert found(judged([wrap(plain, expirytime=DEADLINE)], [good])) == {}
    assert found(judged([wrap(plain, expirytime="2025-11-24T17:10:00+01:00")], [good])) == {}
    for sooner in ("2025-11-24T16:09:59.999Z", "2025-11-24T17:09:59.9999+01:00"):
        said = wrong(wrap(plain, expirytime=sooner), good)
        assert said == f"its deadline_ms {DEADLINE_MS} is past its input's own, {DEADLINE_MS - 1}"


@pytest.mark.parametrize("wrap", [beside, around])
@pytest.mark.parametrize(
    ("field", "present", "attribute", "same", "other"),
    [
        ("expires_at_ms", DEADLINE_MS, "expirytime", DEADLINE, "2025-11-24T16:10:01Z"),
        ("decided_at_ms", OBSERVED_MS + 5, "time", "2025-11-24T16:00:00.0059z", "2025-11-24T16:00:00.006Z"),
        ("proposer", "rating", "source", "rating", "/rating"),
    ],
)
def test_nothing_rests_on_an_event_that_contradicts_its_decision(
    wrap: Any, field: str, present: Any, attribute: str, same: str, other: str
) -> None:
    plain = decision(0, **{field: present})
    assert found(judged([wrap(plain, **{attribute: same})], [command(plain)])) == {}
    for said in (other, "", "soon" if attribute != "source" else "r"):
        event = wrap(plain, **{attribute: said})
        for make in (command, review):
            assert wrong(event, make(plain)) == "its input is a CloudEvent whose attributes contradict its decision"
        refused = replace(exception(raw(0, event.value), "invalid.schema"), key=event.key)
        assert found(judged([event], [refused])) == {}


@pytest.mark.parametrize(
    "event",
    [
        beside(decision(0), specversion="0.3"),
        replace(decision(0), headers=(*binary(), ("ce_specversion", b"0.3"))),
        replace(decision(0), headers=(*binary(expirytime=DEADLINE), ("ce_expirytime", b"2030-01-01T00:00:00Z"))),
        replace(decision(0), headers=(*binary(source=None), ("ce_source", b"\xff"))),
        around(decision(0), specversion="0.3"),
        around(decision(0), specversion=...),
        around(decision(0), id=...),
        around(decision(0), type=7),
        around(decision(0), time=OBSERVED_MS),
        replace(around(decision(0)), headers=(*STRUCTURED, ("content-type", b"application/json"))),
        replace(around(decision(0)), headers=(("content-type", b"application/cloudevents-batch+json"),)),
        replace(around(decision(0)), value=decision(0).value),
    ],
)
def test_nothing_rests_on_an_event_that_cannot_be_understood(event: Rec) -> None:
    for make in (command, review):
        assert "its input" in wrong(event, make(decision(0)))


def test_headers_that_announce_no_event_mean_nothing() -> None:
    plain = decision(0)
    for headers in (
        (("ce_expirytime", b"1970-01-01T00:00:00Z"),),
        (("ce_specversion", None), ("content-type", b"application/json")),
        (("x", b"\xff"), ("traceparent", b"00")),
    ):
        assert found(judged([replace(plain, headers=headers)], [command(plain)])) == {}
    followed = replace(plain, topic=SUCCESSORS, headers=tuple(binary(specversion="?")))
    assert found(judged([followed], [command(replace(plain, topic=SUCCESSORS))])) == {}


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2000-02-29T12:00:00.5-00:30", 951_827_400_500),
        ("2016-12-31t23:59:60z", 1_483_228_800_000),
        ("2016-12-31T23:59:60+01:00", None),
        ("9999-12-31T23:59:59.9999Z", 253_402_300_799_999),
        ("2001-02-29T12:00:00Z", None),
        ("2001-02-28T24:00:00Z", None),
        ("2001-02-28T12:00:00+24:00", None),
        ("2001-02-28 12:00:00Z", None),
        ("2001-02-28T12:00:00", None),
        ("2001-W09-3T12:00:00Z", None),
    ],
)
def test_times_are_rfc_3339(text: str, time_ms: int | None) -> None:
    assert epoch_ms(text) == time_ms


@settings(max_examples=300)
@given(VALUES, HEADERS)
@example(envelope(expirytime="2025-11-24T16:00:05Z"), STRUCTURED)
@example(encoded(proposed()), binary(expirytime="2025-11-24T16:00:05Z"))
@example(encoded(proposed()), binary(time="2025-11-24T16:00:05+23:59"))
@example(encoded(proposed()), (*binary(), ("ce_specversion", b"0.3")))
def test_the_gate_and_the_audit_read_every_event_alike(value: bytes | None, headers: Pairs) -> None:
    """Whatever goes out for it, the audit finds it right: two readings of one contract that share no code."""
    batch = replace(fetched([value], keys=[b"acct-17"]), headers=[headers])
    (sent,) = decide([batch], NOW_MS, Snapshot([BILLING]), Memory(), HeaderSettings()).records
    given = Rec(batch.topic, batch.partition, 0, b"acct-17", value, NOW_MS, 1, tuple(headers))
    output = Rec(f"t.{sent.output}", batch.partition, 0, sent.key, sent.value, NOW_MS, 1, tuple(sent.headers))
    assert found(judged([given], [output], partitions=3)) == {}
