"""The headers of records on output topics (CONTRACT: "Headers on outputs"): their names, and what each says.

Header values are UTF-8 text. Three families, so that tools that know none of our fields can still work with a record:

    ce_*, content-type          CloudEvents 1.0 in the binary mode of its Kafka binding: the value stays as it is
    traceparent, tracestate     W3C Trace Context, the input's, byte for byte
    __dlq.errors.*              on exceptions: the names that Kafka's brokers write on dead letters of share groups
                                (KIP-1191). Kafka Connect's own are `__connect.errors.*`; one who looks for a dead
                                letter's origin reads it by either convention, we write the newer one
    __sluicegate.errors.*       on exceptions: what KIP-1191 has no name for

No other header of the input is copied. On a redriven record a header that begins with `__dlq.` is never overwritten:
the first origin is the one that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

SPEC_VERSION: Final = "1.0"  # of CloudEvents
JSON: Final = "application/json"

CE_PREFIX: Final = "ce_"
CE_ID: Final = "ce_id"
CE_SOURCE: Final = "ce_source"
CE_TYPE: Final = "ce_type"
CE_SPECVERSION: Final = "ce_specversion"
CE_SUBJECT: Final = "ce_subject"
CE_EXPIRYTIME: Final = "ce_expirytime"
CONTENT_TYPE: Final = "content-type"

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

DLQ_PREFIX: Final = "__dlq."
DLQ_TOPIC: Final = "__dlq.errors.topic"
DLQ_PARTITION: Final = "__dlq.errors.partition"
DLQ_OFFSET: Final = "__dlq.errors.offset"
DLQ_GROUP: Final = "__dlq.errors.group"
DLQ_DELIVERY_COUNT: Final = "__dlq.errors.delivery.count"
DLQ_MESSAGE: Final = "__dlq.errors.message"
ERRORS_STAGE: Final = "__sluicegate.errors.stage"
ERRORS_REASON: Final = "__sluicegate.errors.reason"

# kind of topic -> `ce_type` of its records; the version is that of the contract
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "commands": "sluicegate.command.v1",
        "reviews": "sluicegate.review.v1",
        "exceptions": "sluicegate.exception.v1",
        "receipts": "sluicegate.receipt.v1",
        "reevaluations": "sluicegate.reevaluation.v1",
        "successors": "sluicegate.successor.v1",
        "rejections": "sluicegate.rejection.v1",
    }
)


@dataclass(frozen=True, slots=True)
class Header:
    """One header: `always` says whether every record of the family has it."""

    name: str
    says: str
    always: bool = True


CLOUDEVENTS: tuple[Header, ...] = (
    Header(
        CE_ID,
        "the record's own id: command_id, review_id, exception_id, request_id, a successor's id; of a receipt its "
        "command_id",
    ),
    Header(CE_SOURCE, "a URI reference of what wrote the record; with `ce_id` and `ce_type` it names the event"),
    Header(CE_TYPE, "the family of the record and the version of its contract"),
    Header(CE_SPECVERSION, "the version of CloudEvents, 1.0"),
    Header(CE_SUBJECT, "the entity", always=False),
    Header(
        CE_EXPIRYTIME,
        "RFC 3339 time of `deadline_ms`, of requests and successors `final_deadline_ms`: at it, acting or answering is "
        "too late",
        always=False,
    ),
    Header(CONTENT_TYPE, "application/json"),
)
TRACE: tuple[Header, ...] = (
    Header(TRACEPARENT, "W3C Trace Context of the input", always=False),
    Header(TRACESTATE, "W3C Trace Context of the input", always=False),
)
DEAD_LETTER: tuple[Header, ...] = (
    Header(DLQ_TOPIC, "the topic of the record that ended"),
    Header(DLQ_PARTITION, "its partition number, as decimal text"),
    Header(DLQ_OFFSET, "its offset, as decimal text"),
    Header(DLQ_GROUP, "the consumer group that read it"),
    Header(DLQ_DELIVERY_COUNT, "which attempt it was, as decimal text; absent for what is no decision", always=False),
    Header(DLQ_MESSAGE, "one sentence for a person: the exception's `detail`"),
    Header(ERRORS_STAGE, "the stage of the path that ended it: the exception's `stage`"),
    Header(ERRORS_REASON, "the reason code: the exception's `reason`"),
)


def of_topic(kind: str) -> tuple[Header, ...]:
    """The headers of the records on a topic, by its kind; none for a topic that has none of its own."""
    if kind not in TYPES:
        return ()
    return CLOUDEVENTS + TRACE + (DEAD_LETTER if kind == "exceptions" else ())
