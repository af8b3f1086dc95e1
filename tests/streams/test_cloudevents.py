"""CloudEvents in: what their attributes fill, what is refused and in which order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from schemas.common import TIME_MS_MAX, VALUE_BYTES_MAX
from streams.batch import Decided
from streams.window import Window
from tests.streams.events import SOON, SOON_MS, STRUCTURED, TO_A_PERSON, Pairs, binary, envelope, gated, outcome
from tests.streams.making import NOW_MS, decided, decision, fetched, only, outcomes, successor


def refusal(value: Any, headers: Pairs) -> tuple[str, str]:
    record = only(gated(value, headers))
    assert record["decision"] is None
    return record["reason"], record["detail"]


def deadline_ms(value: Any, headers: Pairs) -> int:
    found = gated(value, headers)
    assert outcomes(found) == ["commands"], only(found)
    return int(only(found)["deadline_ms"])


def test_without_headers_of_an_event_nothing_changes() -> None:
    alone = gated(decision(), ())
    for headers in (
        (("ce_expirytime", SOON.encode()),),  # no ce_specversion: these are somebody's own
        (("content-type", b"application/json"), ("content-type", b"text/plain; charset=utf-8")),
        (("x-trace", b"\xff\xfe"), ("", None), ("x-trace", None)),
    ):
        assert gated(decision(), headers).records == alone.records


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_attributes_fill_what_the_decision_lacks(mode: str) -> None:
    """`expirytime` shortens the deadline, `time` gives the inference stage; `source` stays out of what is sent."""
    said = {"expirytime": SOON, "time": "2025-11-24T15:59:59.250Z"}
    value, headers = (decision(), binary(**said)) if mode == "binary" else (envelope(**said), STRUCTURED)
    command = only(gated(value, headers))
    assert command["deadline_ms"] == SOON_MS
    assert command["stages_ms"] == {"inference": 250, "transport": 730, "queue": 15, "gate": 5}


@pytest.mark.parametrize("mode", ["binary", "structured"])
@pytest.mark.parametrize(
    ("field", "present", "attribute", "same", "other"),
    [
        ("expires_at_ms", SOON_MS, "expirytime", SOON, "2025-11-24T16:00:06Z"),
        ("decided_at_ms", NOW_MS - 500, "time", "2025-11-24T16:59:59.5009+01:00", "2025-11-24T15:59:59.499Z"),
        ("proposer", "rating", "source", "rating", "/rating"),
    ],
)
def test_attributes_may_agree_with_the_decision_and_not_disagree(
    mode: str, field: str, present: Any, attribute: str, same: str, other: str
) -> None:
    def tried(said: str) -> Decided:
        body = decision(**{field: present})
        if mode == "binary":
            return gated(body, binary(**{attribute: said}))
        return gated(envelope(body, **{attribute: said}), STRUCTURED)

    assert outcomes(tried(same)) == ["commands"]
    record = only(tried(other))
    assert record["reason"] == "invalid.schema"
    assert record["detail"] == f"{field}: {present}, but the CloudEvent's {attribute} says {other}"
    assert record["decision"] is None and record["raw"] is not None


def test_names_of_headers_are_read_in_any_case_as_the_sdk_does() -> None:
    headers = [(name.upper(), text) for name, text in binary(expirytime=SOON)]
    assert deadline_ms(decision(), headers) == SOON_MS
    assert outcome(envelope(), [("Content-Type", b"application/cloudevents+json")]) == "commands"


def test_a_null_in_the_decision_is_filled_too() -> None:
    assert deadline_ms(decision(expires_at_ms=None), binary(expirytime=SOON)) == SOON_MS


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("2025-11-24T16:00:05Z", SOON_MS),
        ("2025-11-24t16:00:05z", SOON_MS),
        ("2025-11-24T17:30:05+01:30", SOON_MS),
        ("2025-11-24T00:00:05-16:00", SOON_MS),
        ("2025-11-24T16:00:05-00:00", SOON_MS),
        ("2025-11-24T16:00:05.0Z", SOON_MS),
        ("2025-11-24T16:00:05.12Z", SOON_MS + 120),
        ("2025-11-24T16:00:05.1239999999999999999999Z", SOON_MS + 123),
    ],
)
def test_times_are_read_as_rfc_3339_has_them(text: str, time_ms: int) -> None:
    assert deadline_ms(decision(), binary(expirytime=text)) == time_ms
    assert deadline_ms(envelope(expirytime=text), STRUCTURED) == time_ms


def test_a_leap_second_is_the_second_after_it() -> None:
    """Wherever it is told: 23:59:60 in UTC; at no other time of the day."""
    midnight_ms = 1_483_228_800_000
    for text in ("2016-12-31T23:59:60Z", "2017-01-01T05:29:60+05:30"):
        body = decision(expires_at_ms=midnight_ms)
        assert "says" not in only(gated(body, binary(expirytime=text))).get("detail", ""), "they agree"
        assert outcome(body, binary(expirytime=text)) == "stale.expired"
    assert "no RFC 3339 time" in refusal(decision(), binary(expirytime="2016-12-31T12:00:60Z"))[1]


@pytest.mark.parametrize(
    "text",
    [
        "2025-11-24T16:00:05",
        "2025-11-24 16:00:05Z",
        "20251124T160005Z",
        "2025-W48-1T16:00:05Z",
        "2025-11-24T16:00Z",
        "2025-11-24T16Z",
        "2025-11-24T16:00:05,5Z",
        "2025-11-24T16:00:05.Z",
        "2025-11-24T16:00:05+01",
        "2025-11-24T16:00:05+0100",
        "2025-11-24T16:00:05+24:00",
        "2025-11-24T16:00:05+01:60",
        "2025-11-24T24:00:00Z",
        "2025-11-24T16:60:00Z",
        "2025-11-24T16:00:61Z",
        "2025-02-29T16:00:05Z",
        "0000-01-01T00:00:00Z",
        "٢٠٢٥-11-24T16:00:05Z",
        " 2025-11-24T16:00:05Z",
        "1764000005000",
        "never\x00",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    for attribute in ("time", "expirytime"):
        wanted = ("invalid.schema", f"the CloudEvent's {attribute}: {text[:80]!r} is no RFC 3339 time")
        assert refusal(decision(), binary(**{attribute: text})) == wanted
        assert refusal(envelope(**{attribute: text}), STRUCTURED) == wanted


@pytest.mark.parametrize("text", ["1969-12-31T23:59:59.999Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-00:01"])
def test_a_time_outside_the_contracts_range_is_invalid_time(text: str) -> None:
    assert outcome(decision(), binary(time=text)) == "invalid.time"


def test_an_empty_attribute_is_refused_and_one_without_a_value_is_absent() -> None:
    for attribute in ("time", "expirytime", "source"):
        wanted = ("invalid.schema", f"the CloudEvent's {attribute} is empty")
        assert refusal(decision(), binary(**{attribute: ""})) == wanted
        assert refusal(envelope(**{attribute: ""}), STRUCTURED) == wanted
        assert outcome(decision(), (*binary(source=None), (f"ce_{attribute}", None))) == "commands"
    assert outcome(envelope(time=None, expirytime=None), STRUCTURED) == "commands"
    assert outcome(decision(), (*binary(specversion=None), ("ce_specversion", None))) == "commands", "no event at all"


def test_a_header_that_stands_twice_must_say_the_same() -> None:
    once = binary(expirytime=SOON)
    assert deadline_ms(decision(), (*once, *once)) == SOON_MS
    assert (
        deadline_ms(decision(), (*once, ("ce_expirytime", None), ("ce_subject", b"a"), ("ce_subject", b"b"))) == SOON_MS
    )
    for name in ("ce_specversion", "ce_source", "ce_expirytime"):
        wanted = ("invalid.schema", f"the header {name} stands twice, with different values")
        assert refusal(decision(), (*once, (name, b"2025-11-24T16:00:06Z"))) == wanted
        assert refusal(decision(), ((name, b"2025-11-24T16:00:06Z"), *once)) == wanted
    assert refusal(envelope(), (*STRUCTURED, ("Content-Type", b"application/json"))) == (
        "invalid.schema",
        "the header content-type stands twice, with different values",
    )
    twice = (("content-type", b"Application/CloudEvents+JSON; charset=utf-8"), *STRUCTURED)
    assert outcome(envelope(), twice) == "commands"


@pytest.mark.parametrize("version", ["0.3", "1.0.2", "1", ""])
def test_another_version_of_cloudevents_is_refused(version: str) -> None:
    assert refusal(decision(), binary(specversion=version)) == (
        "invalid.schema",
        f"ce_specversion: found {version!r}; expected '1.0'",
    )
    assert refusal(envelope(specversion=version), STRUCTURED)[1] == f"specversion: found {version!r}; expected '1.0'"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (envelope(id=...), "missing required field `id`"),
        (envelope(source=...), "missing required field `source`"),
        (envelope(type=...), "missing required field `type`"),
        (envelope(source=7), "Expected `str`, got `int` - at `$.source`"),
        (envelope(time=1_764_000_000_000), "Expected `str | null`, got `int` - at `$.time`"),
        (envelope(None), "data: missing"),
        (envelope(..., data_base64="e30=").replace(b'"data":', b'"date":'), "data: missing"),
        (envelope("{}"), "JSON but no object"),
        (envelope(7), "JSON but no object"),
        (envelope([]), "JSON but no object"),
        (envelope(decision(id=...)), "id: missing"),
        (envelope(decision(root_id="d-0")), "root_id: only Sluicegate itself"),
        (envelope(datacontenttype="application/xml"), "datacontenttype: found application/xml"),
        (b'{"specversion":"1.0","specversion":"1.0","id":"e"}', "specversion: the field stands twice"),
        (b"[]", "no object"),
    ],
)
def test_a_structured_event_that_is_none_is_refused_with_what_is_wrong(value: bytes, said: str) -> None:
    reason, detail = refusal(value, STRUCTURED)
    assert reason == "invalid.schema" and said in detail


@pytest.mark.parametrize(
    "media", ["application/json", "Application/JSON; charset=utf-8", "text/json", "application/x+json"]
)
def test_every_media_type_of_json_may_be_the_datas(media: str) -> None:
    assert outcome(envelope(datacontenttype=media), STRUCTURED) == "commands"


@pytest.mark.parametrize(
    "media", ["application/cloudevents-batch+json", "application/cloudevents", "application/cloudevents+avro"]
)
def test_other_formats_of_events_are_refused(media: str) -> None:
    reason, detail = refusal(envelope(), (("content-type", media.encode()),))
    assert reason == "invalid.schema" and f"content-type: found {media}" in detail


def test_the_first_reason_that_applies_is_given() -> None:
    """Empty, oversized, encoding, json, schema, key, time: in an event as in any other record."""
    other_version = binary(specversion="0.3")
    latin = (("ce_source", "é".encode("latin-1")),)
    large = b'"' + b" " * VALUE_BYTES_MAX
    for headers in (other_version, latin, STRUCTURED, (*latin, *STRUCTURED)):
        assert outcome(None, headers) == "invalid.empty"
        assert outcome(b"", headers) == "invalid.empty"
        assert outcome(large, headers) == "invalid.oversized"
        assert outcome(b'{"a": "\xff"', headers) == "invalid.encoding"
    for headers in (other_version, STRUCTURED):
        assert outcome(b'{"a": }', headers) == "invalid.json"
        assert outcome(b"{" + b'"a":[' * 64 + b"]" * 64 + b"}", headers) == "invalid.json"
    assert outcome(b'{"a": }', latin) == "invalid.encoding"
    assert refusal(decision(), latin) == ("invalid.encoding", "the header ce_source is not UTF-8")
    assert outcome(decision(), other_version, key=b"another") == "invalid.schema"
    assert outcome(envelope(time="0001-01-01T00:00:00Z"), STRUCTURED, key=b"another") == "invalid.key"
    assert outcome(envelope(decision(workflow="?"), time="0001-01-01T00:00:00Z"), STRUCTURED) == "invalid.time"


def test_what_is_refused_later_carries_the_decision_and_the_hash_of_the_whole() -> None:
    body = '{ "id":"d-1","workflow":"?","entity":"acct-17","action":{"n": 1.50},  "observed_at_ms":1763999999000 }'
    value = b'{"specversion":"1.0","id":"e","source":"/r","type":"t", "data" : ' + body.encode() + b"}\n"
    (sent,) = gated(value, STRUCTURED).records
    record = orjson.loads(sent.value)
    assert record["reason"] == "invalid.unknown_workflow" and record["raw_bytes"] == len(value)
    assert b'"decision":' + body.encode() in sent.value, "its text, byte for byte"


def test_the_action_of_a_structured_event_travels_byte_for_byte() -> None:
    action = '{"type": "invoice.post",  "amount": 1.50, "n": 1e2, "who": "\\u0041na"}'
    value = envelope(decision(action="?")).replace(b'"?"', action.encode())
    (sent,) = gated(value, STRUCTURED).records
    assert sent.output == "commands" and f'"action":{action}'.encode() in sent.value


def test_a_review_of_a_structured_event_carries_the_decision_alone() -> None:
    batch = fetched([envelope(decision(value_minor=9_999_999), expirytime=SOON)], keys=[b"acct-17"])
    with_headers = replace(batch, headers=[STRUCTURED])
    record = only(decided(with_headers, policies=[TO_A_PERSON]))
    assert record["decision"] == decision(value_minor=9_999_999)
    assert record["deadline_ms"] == SOON_MS, "what the event fills counts and is not written into the decision"


def test_the_same_decision_in_any_mode_is_a_repeat() -> None:
    window = Window()
    found = []
    for value, headers in ((decision(), ()), (decision(), binary()), (envelope(), STRUCTURED)):
        batch = fetched([value], keys=[b"acct-17"])
        found += outcomes(decided(replace(batch, headers=[headers]), window=window))
    assert found == ["commands", "duplicate.repeat", "duplicate.repeat"]


def test_on_successors_headers_of_events_mean_nothing() -> None:
    assert outcome(successor(), binary(specversion="0.3", expirytime="?"), source="successors") == "commands"
    assert outcome(envelope(), STRUCTURED, source="successors") == "invalid.schema"


def test_times_reach_to_the_end_of_the_contracts_range() -> None:
    body = decision(expires_at_ms=TIME_MS_MAX)
    assert outcome(body, binary(expirytime="9999-12-31T23:59:59.999Z")) == "commands"
