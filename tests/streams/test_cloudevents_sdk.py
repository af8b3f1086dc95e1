"""Events as the official SDK makes them, and headers as nobody would: what the gate makes of both."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st

from streams.batch import Decided
from tests.streams.events import HEADERS, SOON, SOON_MS, STRUCTURED, VALUES, Pairs, envelope, gated
from tests.streams.making import NOW_MS, decided, decision, encoded, fetched, only, outcomes


def made(body: dict[str, Any], **attributes: Any) -> CloudEvent:
    # the SDK fills in `time` with now where it is absent
    time = datetime.fromtimestamp((NOW_MS - 500) / 1_000, UTC)
    return CloudEvent({"type": "rating.decided", "source": "/rater", "time": time, **attributes}, body)


def read_from_sdk(message: KafkaMessage) -> Decided:
    key = message.key.encode() if isinstance(message.key, str) else message.key
    assert key is not None
    return gated(message.value, tuple(message.headers.items()), key=key)


@pytest.mark.parametrize("convert", [to_binary_event, to_structured_event])
def test_events_of_the_official_sdk_are_accepted(convert: Any) -> None:
    event = made(decision(), partitionkey="acct-17", expirytime=SOON, subject="acct-17", dataschema="/decision")
    command = only(read_from_sdk(convert(event)))
    assert command["reason"] == "within_bounds", command
    assert command["action"] == decision()["action"]
    assert (command["deadline_ms"], command["stages_ms"]["inference"]) == (SOON_MS, 500)


@pytest.mark.parametrize("convert", [to_binary_event, to_structured_event])
def test_the_sdks_own_time_contradicts_a_decision_that_says_when_it_was_made(convert: Any) -> None:
    """For the producer's developer: leave `decided_at_ms` out, or set `time` to it."""
    body = decision(decided_at_ms=NOW_MS - 501)
    assert only(read_from_sdk(convert(made(body, partitionkey="acct-17"))))["reason"] == "invalid.schema"
    agreed = made(decision(decided_at_ms=NOW_MS - 500), partitionkey="acct-17")
    assert outcomes(read_from_sdk(convert(agreed))) == ["commands"]


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    time_ms=st.integers(NOW_MS, NOW_MS + 500_000),
    zone=ZONES,
    finer_us=st.integers(0, 999),
    convert=st.sampled_from([to_binary_event, to_structured_event]),
)
@example(time_ms=NOW_MS + 1, zone=UTC, finer_us=0, convert=to_binary_event)
def test_times_as_the_sdk_writes_them_are_read_to_the_millisecond(
    time_ms: int, zone: timezone, finer_us: int, convert: Any
) -> None:
    time = datetime.fromtimestamp(time_ms // 1_000, zone) + timedelta(
        milliseconds=time_ms % 1_000, microseconds=finer_us
    )
    event = made(decision(decided_at_ms=time_ms), time=time, partitionkey="acct-17")
    assert outcomes(read_from_sdk(convert(event))) == ["commands"]


@given(records=st.lists(st.tuples(VALUES, HEADERS), min_size=1, max_size=4))
@example(records=[(envelope(), (*STRUCTURED, ("ce_specversion", b"\xff")))])
@example(records=[(encoded(decision()), (("ce_specversion", b"1.0"), ("ce_time", b"9999-12-31T23:59:60-23:59")))])
def test_whatever_the_headers_say_one_record_goes_out_for_each(records: list[tuple[bytes | None, Pairs]]) -> None:
    batch = fetched([value for value, _ in records], keys=[b"acct-17"] * len(records))
    found = decided(replace(batch, headers=[headers for _, headers in records]))
    assert len(found.records) == len(records)
    for sent in found.records:
        orjson.loads(sent.value)
        assert len({name for name, _ in sent.headers}) == len(sent.headers), "no header stands twice"
        assert all(isinstance(value, bytes) for _, value in sent.headers)
