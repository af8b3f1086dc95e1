"""The AsyncAPI 3.0 document: topics, messages, headers and who sends what, seen from Sluicegate.

It is complete in itself (schemas included), so that it can be pasted into any AsyncAPI tool. It speaks of the topics
whose records have a published schema; the topics that only Sluicegate reads and writes are its own business.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas import headers, topics
from schemas.examples import CONTEXT, EXAMPLES
from schemas.messages import KINDS, MESSAGES, SIGNATURE, Message, headers_of

VERSION = "1.0.0"  # of the contract: the major one is that of `$id`s and of `ce_type`
DESCRIPTION = """\
Sluicegate is the gate between decision and action. Producers write **decisions**; each leaves the gate exactly one way:
as a **command** that an executor may act on until its deadline, as a **review** for a person, or as an **exception**
(dead letter) with everything needed to work it. Executors answer commands with **receipts**.

Every reader of an output sets `isolation.level=read_committed`: outputs are written in transactions, and without it you
act on commands that were taken back. The key of every record is the entity; its partition is murmur2(key) mod the count
of partitions (Java's default; librdkafka: `partitioner=murmur2_random`), and an output goes to the partition number
that its input came from. Times and durations are integer milliseconds (`*_ms`), money is an integer in the currency's
minor unit (`*_minor`). Fields and reason codes may be added at any time: accept those you do not know."""
_EXAMPLE_KEY = b"a key that is no secret, for the example alone"
# who answers, and with what
_REPLIES = {"commands": ("receipts", "receipt"), "reviews": ("verdicts", "verdict")}


def document(schemas: Mapping[str, dict[str, Any]], titles: Mapping[str, str]) -> dict[str, Any]:
    """The document. `schemas` are all JSON Schemas by title, `titles` maps a family to the title of its own.

    References between them point into `#/components/schemas/`.
    """
    return {
        "asyncapi": "3.0.0",
        "id": "urn:sluicegate:v1",
        "info": {
            "title": "Sluicegate",
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
            "tags": [{"name": "input"}, {"name": "output"}],
        },
        "defaultContentType": headers.JSON,
        "servers": {"kafka": _server()},
        "channels": {kind: _channel(kind, messages) for kind, messages in KINDS.items()},
        "operations": {
            f"{messages[0].action}{kind.capitalize()}": _operation(kind, messages) for kind, messages in KINDS.items()
        },
        "components": {
            "schemas": dict(schemas),
            "messages": {one.family: _message(one, titles[one.family]) for one in MESSAGES},
            "correlationIds": {
                one.family: {
                    "description": f"`{one.id_field}` of the record",
                    "location": f"$message.payload#/{one.id_field}",
                }
                for one in MESSAGES
                if one.id_field is not None
            },
            "parameters": {
                "prefix": {
                    "default": "sluicegate.",
                    "description": "What all topic names begin with (`--prefix`, SLUICEGATE_PREFIX).",
                }
            },
        },
    }


def _server() -> dict[str, Any]:
    return {
        "host": "{bootstrap}",
        "protocol": "kafka",
        "description": "Your Apache Kafka, or the one of `sluicegate broker`.",
        "variables": {"bootstrap": {"default": "127.0.0.1:9092", "description": "host:port of a broker"}},
    }


def _channel(kind: str, messages: list[Message]) -> dict[str, Any]:
    topic, about = topics.BY_KIND[kind], " ".join(message.about for message in messages)
    settings = {key: setting.value for key, setting in topic.settings.items()}
    configuration: dict[str, Any] = {"message.timestamp.type": settings["message.timestamp.type"]}
    configuration["cleanup.policy"] = [settings["cleanup.policy"]]
    for key in ("retention.ms", "max.message.bytes"):
        if key in settings:
            configuration[key] = int(settings[key])
    binding: dict[str, Any] = {"bindingVersion": "0.5.0", "topicConfiguration": configuration}
    if topic.partitions is not None:
        binding["partitions"] = topic.partitions
    return {
        "address": f"{{prefix}}{kind}",
        "title": kind.capitalize(),
        "description": f"{about} As many partitions as `decisions` has, which is yours to choose."
        if topic.partitions is None
        else about,
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": {one.family: {"$ref": f"#/components/messages/{one.family}"} for one in messages},
        "tags": [{"name": _direction(messages[0])}],
        "bindings": {"kafka": binding},
    }


def _operation(kind: str, messages: list[Message]) -> dict[str, Any]:
    action = messages[0].action
    found: dict[str, Any] = {
        "action": action,
        "title": f"{action.capitalize()} {kind}",
        "summary": "; ".join(message.summary for message in messages),
        "channel": {"$ref": f"#/channels/{kind}"},
        "messages": [{"$ref": f"#/channels/{kind}/messages/{message.family}"} for message in messages],
        "tags": [{"name": _direction(messages[0])}],
    }
    if kind in _REPLIES:
        reply, family = _REPLIES[kind]
        found["reply"] = {
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{family}"}],
        }
    return found


def _direction(message: Message) -> str:
    return "output" if message.action == "send" else "input"


def _message(message: Message, title: str) -> dict[str, Any]:
    payload = json.loads(msgspec.json.encode(EXAMPLES[message.family]))
    if message.family in ("decision", "successor"):
        payload = {key: value for key, value in payload.items() if value is not None}
    example: dict[str, Any] = {"name": message.family, "payload": payload}
    if message.kind == "verdicts":
        signed = hmac.digest(_EXAMPLE_KEY, msgspec.json.encode(EXAMPLES[message.family]), "sha256").hex()
        example["headers"] = {SIGNATURE.name: f"desk-1:{signed}"}
    if message.kind in headers.TYPES:
        example["headers"] = _example_headers(message, payload)
    correlation = {"correlationId": {"$ref": f"#/components/correlationIds/{message.family}"}}
    return {
        "name": message.family,
        "title": title,
        "summary": message.summary,
        "contentType": headers.JSON,
        **(correlation if message.id_field is not None else {}),
        "headers": _headers(message, headers_of(message)),
        "payload": {"$ref": f"#/components/schemas/{title}"},
        "tags": [{"name": _direction(message)}],
        "bindings": {
            "kafka": {
                "bindingVersion": "0.5.0",
                "key": {"type": "string", "minLength": 1, "description": message.key},
            }
        },
        "examples": [example],
    }


def _headers(message: Message, known: tuple[headers.Header, ...]) -> dict[str, Any]:
    """What Sluicegate sends has all that are always there; of what it receives only a signature is asked for."""
    fixed = {
        headers.CE_TYPE: headers.TYPES.get(message.kind),
        headers.CE_SPECVERSION: headers.SPEC_VERSION,
        headers.CONTENT_TYPE: headers.JSON,
    }
    properties: dict[str, Any] = {}
    for one in known:
        properties[one.name] = {"type": "string", "description": one.says}
        if one.name in fixed:
            properties[one.name]["const"] = fixed[one.name]
    found: dict[str, Any] = {"type": "object", "properties": properties}
    required = [one.name for one in known if one.always and (message.action == "send" or one is SIGNATURE)]
    return {**found, "required": required} if required else found


def _example_headers(message: Message, payload: dict[str, Any]) -> dict[str, str]:
    found = {
        headers.CE_ID: payload["id" if message.kind == "successors" else message.id_field or ""],
        headers.CE_SOURCE: payload.get("executor", "sluicegate/gate"),
        headers.CE_TYPE: headers.TYPES[message.kind],
        headers.CE_SPECVERSION: headers.SPEC_VERSION,
        headers.CE_SUBJECT: payload.get("entity", CONTEXT.entity),
        headers.CONTENT_TYPE: headers.JSON,
    }
    ends = {"commands": "deadline_ms", "reviews": "deadline_ms"}
    ends |= dict.fromkeys(("reevaluations", "successors"), "final_deadline_ms")
    if message.kind in ends:
        at = datetime.fromtimestamp(payload[ends[message.kind]] / 1000, UTC)
        found[headers.CE_EXPIRYTIME] = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if message.kind == "exceptions":
        source = payload["source"]
        found |= {
            headers.DLQ_TOPIC: source["topic"],
            headers.DLQ_PARTITION: str(source["partition"]),
            headers.DLQ_OFFSET: str(source["offset"]),
            headers.DLQ_GROUP: "sluicegate.gate",
            headers.DLQ_DELIVERY_COUNT: str(payload["attempt"]),
            headers.DLQ_MESSAGE: payload["detail"],
            headers.ERRORS_STAGE: payload["stage"],
            headers.ERRORS_REASON: payload["reason"],
        }
    return found
