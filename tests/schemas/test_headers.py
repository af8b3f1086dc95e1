"""The headers of CONTRACT.md, typed again on purpose, and as the official CloudEvents SDK reads them."""

from __future__ import annotations

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat

from schemas import headers
from schemas.generate import asyncapi_document
from schemas.messages import MESSAGES

CLOUDEVENTS = ["ce_id", "ce_source", "ce_type", "ce_specversion", "ce_subject", "ce_expirytime", "content-type"]
# as Apache Kafka 4.4 writes them on the dead letters of share groups
KIP_1191 = ["topic", "partition", "offset", "group", "delivery.count", "message"]


def test_the_names_are_those_of_the_contract_and_of_kip_1191() -> None:
    assert [header.name for header in headers.CLOUDEVENTS] == CLOUDEVENTS
    assert [header.name for header in headers.TRACE] == ["traceparent", "tracestate"]
    assert [header.name for header in headers.DEAD_LETTER] == [
        *(f"__dlq.errors.{name}" for name in KIP_1191),
        "__sluicegate.errors.stage",
        "__sluicegate.errors.reason",
    ]
    assert all(header.says for kind in headers.TYPES for header in headers.of_topic(kind))


def test_only_dead_letters_have_the_headers_of_dead_letters() -> None:
    for kind in headers.TYPES:
        names = {header.name for header in headers.of_topic(kind)}
        assert (headers.DLQ_TOPIC in names) is (kind == "exceptions")
        assert headers.CE_TYPE in names
    assert headers.of_topic("decisions") == ()


def test_the_official_sdk_reads_the_examples_headers_as_a_cloudevent() -> None:
    told = asyncapi_document()["components"]["messages"]
    for message in MESSAGES:
        if message.kind not in headers.TYPES:
            continue
        example = told[message.family]["examples"][0]
        wire = {name: value.encode() for name, value in example["headers"].items()}
        event = from_binary(KafkaMessage(wire, b"acct-17", b"{}"), JSONFormat())
        assert event.get_type() == f"sluicegate.{message.family}.v1"
        assert event.get_subject() == "acct-17"
        assert event.get_datacontenttype() == "application/json"
        if message.kind in ("commands", "reviews"):
            assert event.get_extension("expirytime") == "2025-11-24T16:10:00.000Z"
