"""The headers of what goes out: valid CloudEvents for the official SDK, the input's trace, a dead letter's origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas import headers as names
from schemas.common import TIME_MS_MAX
from streams.batch import Sent
from streams.headers import DEFAULTS, DLQ_BYTES_MAX, TRACE_BYTES_MAX, HeaderSettings, rfc3339
from streams.memory import Memory
from streams.path import Snapshot, decide
from tests.streams.making import BILLING, BUDGET_MS, NOW_MS, decision, fetched, successor

Pairs = Sequence[tuple[str, bytes | None]]
TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
SETTINGS = HeaderSettings(group="t.gate")
COMMANDED = decision(1)
REVIEWED = decision(2, value_minor=9_999_999)
STALE = decision(3, observed_at_ms=NOW_MS - BUDGET_MS)
BROKEN = b"{"


def sent(
    values: Sequence[Any], headers: Sequence[Pairs] | None = None, settings: HeaderSettings = SETTINGS
) -> list[Sent]:
    """What goes out for these values; they are at the offsets 40, 41, ... of partition 2."""
    batch = fetched(values, first_offset=40)
    if headers is not None:
        batch = replace(batch, headers=[tuple(pairs) for pairs in headers])
    return decide([batch], NOW_MS, Snapshot([BILLING]), Memory(), settings).records


def one(value: Any, *headers: tuple[str, bytes | None], settings: HeaderSettings = SETTINGS) -> dict[str, bytes]:
    (record,) = sent([value], [headers], settings)
    found = dict(record.headers)
    assert len(found) == len(record.headers), "no header stands twice"
    return found


def test_every_output_is_a_cloudevent() -> None:
    command, review, exception, broken = map(
        dict, (found.headers for found in sent([COMMANDED, REVIEWED, STALE, BROKEN]))
    )
    always = {"ce_specversion": b"1.0", "ce_source": b"sluicegate/gate", "content-type": b"application/json"}
    deadline = b"2025-11-24T16:09:59.000Z"  # a second old, and ten minutes of budget
    commands, reviews, exceptions, _ = (
        orjson.loads(found.value) for found in sent([COMMANDED, REVIEWED, STALE, BROKEN])
    )
    assert command == always | {
        "ce_id": commands["command_id"].encode(),
        "ce_type": b"sluicegate.command.v1",
        "ce_subject": b"acct-17",
        "ce_expirytime": deadline,
    }
    assert review == always | {
        "ce_id": reviews["review_id"].encode(),
        "ce_type": b"sluicegate.review.v1",
        "ce_subject": b"acct-17",
        "ce_expirytime": deadline,
    }
    assert {name: value for name, value in exception.items() if not name.startswith("__")} == always | {
        "ce_id": exceptions["exception_id"].encode(),
        "ce_type": b"sluicegate.exception.v1",
        "ce_subject": b"acct-17",
    }
    assert "ce_subject" not in broken and broken["ce_type"] == b"sluicegate.exception.v1"


def test_an_expiry_is_that_of_the_producer_where_it_is_sooner() -> None:
    assert one(decision(expires_at_ms=NOW_MS + 1))["ce_expirytime"] == b"2025-11-24T16:00:00.001Z"


@given(st.integers(0, TIME_MS_MAX))
def test_every_time_of_the_contract_is_written_as_rfc_3339(time_ms: int) -> None:
    text = rfc3339(time_ms).decode()
    read = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert read == datetime.fromtimestamp(time_ms // 1_000, UTC).replace(microsecond=time_ms % 1_000 * 1_000)


def test_a_deployment_may_leave_cloudevents_out_and_keeps_trace_and_dead_letters() -> None:
    plain = HeaderSettings(group="t.gate", cloudevents=False)
    assert sent([COMMANDED], settings=plain)[0].headers == ()
    assert one(COMMANDED, TRACE, settings=plain) == dict([TRACE])
    assert set(one(BROKEN, settings=plain)) == {
        header.name for header in names.DEAD_LETTER if header.name != names.DLQ_DELIVERY_COUNT
    }


def test_every_output_has_the_headers_that_the_contract_lists_and_no_others() -> None:
    for value, kind in ((COMMANDED, "commands"), (REVIEWED, "reviews"), (STALE, "exceptions"), (BROKEN, "exceptions")):
        listed = names.of_topic(kind)
        found = set(one(value, TRACE, ("tracestate", b"a=1"), ("x-other", b"1"), ("__dlq.other", b"1")))
        assert {header.name for header in listed if header.always} <= found <= {header.name for header in listed}


# the input's trace context


@pytest.mark.parametrize("value", [COMMANDED, REVIEWED, STALE, BROKEN, None])
def test_trace_context_goes_with_every_output_byte_for_byte(value: Any) -> None:
    state = ("tracestate", b"vendor=\xff\x00,rojo=1")
    found = one(value, state, ("x-secret", b"1"), TRACE)
    assert (found["traceparent"], found["tracestate"]) == (TRACE[1], state[1])
    assert "x-secret" not in found


def test_each_record_of_a_batch_has_its_own_trace_or_none() -> None:
    values = [decision(number) for number in range(4)]
    found = sent(values, [[], [TRACE], [], [("traceparent", b"00-2")]])
    assert [dict(record.headers).get("traceparent") for record in found] == [None, TRACE[1], None, b"00-2"]


def test_no_headers_at_all_is_as_good_as_empty_ones() -> None:
    assert sent([COMMANDED, BROKEN]) == sent([COMMANDED, BROKEN], [[], []])


def test_what_is_no_trace_context_is_left_behind() -> None:
    """Null, too large for one, or spelt otherwise; of several the first counts."""
    assert "traceparent" not in one(COMMANDED, ("traceparent", None), ("Traceparent", b"00"))
    assert "tracestate" not in one(COMMANDED, ("tracestate", b"x" * (TRACE_BYTES_MAX + 1)))
    assert len(one(COMMANDED, ("tracestate", b"x" * TRACE_BYTES_MAX))["tracestate"]) == TRACE_BYTES_MAX
    assert one(COMMANDED, TRACE, ("traceparent", b"00-2"))["traceparent"] == TRACE[1]
    assert one(COMMANDED, ("traceparent", None), TRACE)["traceparent"] == TRACE[1]
    assert one(COMMANDED, ("traceparent", b""))["traceparent"] == b""


# dead letters


def test_a_dead_letter_says_where_it_is_from_and_why() -> None:
    record = orjson.loads(sent([STALE])[0].value)
    found = {name: value for name, value in one(STALE).items() if name.startswith("__")}
    assert found == {
        "__dlq.errors.topic": b"t.decisions",
        "__dlq.errors.partition": b"2",
        "__dlq.errors.offset": b"40",
        "__dlq.errors.group": b"t.gate",
        "__dlq.errors.delivery.count": b"1",
        "__dlq.errors.message": record["detail"].encode(),
        "__sluicegate.errors.stage": b"freshness",
        "__sluicegate.errors.reason": b"stale.age",
    }
    assert "__dlq.errors.delivery.count" not in one(BROKEN), "what is no decision has no attempts"
    assert not [name for name in one(COMMANDED) if name.startswith("__")]


def test_the_attempt_of_a_successor_is_its_delivery_count() -> None:
    batch = fetched([successor("d-9", 3, workflow="?")], source="successors")
    (record,) = decide([batch], NOW_MS, Snapshot([BILLING]), Memory(), SETTINGS).records
    assert dict(record.headers)["__dlq.errors.delivery.count"] == b"3"


@pytest.mark.parametrize("value", [STALE, BROKEN, None])
def test_the_first_origin_is_never_overwritten(value: Any) -> None:
    first = {
        "__dlq.errors.topic": b"elsewhere",
        "__dlq.errors.partition": b"\xff",
        "__dlq.errors.offset": b"",
        "__dlq.errors.group": b"another",
        "__dlq.errors.delivery.count": b"7",
        "__dlq.errors.message": b"why it ended first" * 100,
    }
    found = one(value, *first.items(), *((name, b"later") for name in first), ("__sluicegate.errors.reason", b"forged"))
    assert {name: found[name] for name in first} == first
    assert found["__sluicegate.errors.reason"] != b"forged", "that is about this ending"


def test_a_first_origin_without_a_value_is_none() -> None:
    assert one(BROKEN, ("__dlq.errors.topic", None))["__dlq.errors.topic"] == b"t.decisions"


def test_a_message_without_bound_is_cut_between_two_characters() -> None:
    found = one(BROKEN, ("__dlq.errors.message", "é".encode() * DLQ_BYTES_MAX))["__dlq.errors.message"]
    assert found == "é".encode() * (DLQ_BYTES_MAX // 2)
    odd = one(BROKEN, ("__dlq.errors.message", b"x" + "é".encode() * DLQ_BYTES_MAX))["__dlq.errors.message"]
    assert len(odd) == DLQ_BYTES_MAX - 1 and odd.decode().endswith("é")


def test_commands_and_reviews_take_nothing_of_a_dead_letter_with_them() -> None:
    for value in (COMMANDED, REVIEWED):
        assert not [name for name in one(value, ("__dlq.errors.topic", b"elsewhere")) if name.startswith("__")]


ANY = st.lists(st.tuples(st.text(max_size=6) | st.sampled_from(["traceparent", *names.TYPES]), st.none() | st.binary()))


@given(per_record=st.lists(ANY, min_size=4, max_size=4))
def test_headers_change_headers_alone(per_record: list[Pairs]) -> None:
    """None of these announces an event: the records are the same with and without."""
    values = [COMMANDED, REVIEWED, STALE, BROKEN]
    with_headers, without = sent(values, per_record), sent(values)
    assert [(one.output, one.key, one.value) for one in with_headers] == [
        (one.output, one.key, one.value) for one in without
    ]


# the official SDK as the reader


def as_message(record: Sent) -> KafkaMessage:
    return KafkaMessage(dict(record.headers), record.key, record.value)


@pytest.mark.parametrize(
    ("value", "type_", "identifier", "expires"),
    [
        (COMMANDED, "sluicegate.command.v1", "command_id", "deadline_ms"),
        (REVIEWED, "sluicegate.review.v1", "review_id", "deadline_ms"),
        (STALE, "sluicegate.exception.v1", "exception_id", None),
        (decision(workflow="?"), "sluicegate.exception.v1", "exception_id", None),
        (BROKEN, "sluicegate.exception.v1", "exception_id", None),
        (b"\xff", "sluicegate.exception.v1", "exception_id", None),
        (decision(entity="Zoë ☃ 北"), "sluicegate.command.v1", "command_id", "deadline_ms"),
    ],
)
def test_the_official_sdk_reads_every_output_as_a_valid_event(
    value: Any, type_: str, identifier: str, expires: str | None
) -> None:
    (record,) = sent([value], [[TRACE]])
    event = from_kafka_event(as_message(record))
    body = orjson.loads(record.value)
    assert event.get_data() == body
    assert (event.get_id(), event.get_type(), event.get_source()) == (body[identifier], type_, "sluicegate/gate")
    assert (event.get_specversion(), event.get_datacontenttype()) == ("1.0", "application/json")
    assert event.get_subject() == body["entity"]
    expiry = event.get_extension("expirytime")
    if expires is None:
        assert expiry is None
    else:
        assert datetime.fromisoformat(expiry) == datetime.fromtimestamp(body[expires] / 1_000, UTC)
    again = JSONFormat().read(CloudEvent, JSONFormat().write(event))
    assert again.get_attributes() == event.get_attributes()


def test_without_a_group_there_is_an_empty_one() -> None:
    assert one(BROKEN, settings=DEFAULTS)["__dlq.errors.group"] == b""
