"""The AsyncAPI document against the official schema of AsyncAPI, and against what the Structs and topics say."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from schemas import headers
from schemas.decision import Decision
from schemas.examples import (
    ANSWER,
    COMMAND,
    DECISION,
    EXAMPLES,
    EXCEPTION,
    QUESTION,
    REEVALUATION,
    REVIEW,
    SUCCESSOR,
)
from schemas.generate import FAMILIES, FOLDER
from schemas.identifiers import (
    action_digest,
    command_id,
    exception_id,
    request_id,
    review_id,
    root_digest,
    successor_id,
)
from schemas.messages import MESSAGES, Message, headers_of
from schemas.topics import BY_KIND

OFFICIAL = jsonschema.Draft7Validator(
    json.loads((Path(__file__).parent / "official" / "asyncapi-3.0.0.json").read_text())
)
DOCUMENT: dict[str, Any] = json.loads((FOLDER / "asyncapi.json").read_text())
EACH_MESSAGE = pytest.mark.parametrize("message", MESSAGES, ids=[message.family for message in MESSAGES])


def message_of(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["messages"][message.family]
    return found


def complete(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """The schema with what it refers to inside the document."""
    return jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def test_it_is_valid_by_the_official_schema() -> None:
    OFFICIAL.validate(DOCUMENT)


@pytest.mark.parametrize(
    "path", [("channels", "commands", "adress"), ("operations", "sendCommands", "aktion"), ("info", "licence")]
)
def test_the_official_schema_refuses_what_it_does_not_know(path: tuple[str, ...]) -> None:
    wrong = copy.deepcopy(DOCUMENT)
    inner = wrong
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = "x"
    assert not OFFICIAL.is_valid(wrong)


def test_every_reference_leads_somewhere() -> None:
    references = re.findall(r'"\$ref": "([^"]*)"', json.dumps(DOCUMENT))
    assert len(references) > 40
    for reference in references:
        inner: Any = DOCUMENT
        assert reference.startswith("#/")
        for name in reference.removeprefix("#/").split("/"):
            inner = inner[name]


def test_every_record_with_a_topic_is_in_it_once() -> None:
    """A question and its answer have none: they are what an evaluator hears and says over HTTP. Of what stands on
    `policies`, others read what stops them.
    """
    elsewhere = ("policy", "question", "answer", "published_policy", "current", "preapproval")
    assert [message.family for message in MESSAGES] == [name for name in FAMILIES if name not in elsewhere]
    assert set(DOCUMENT["channels"]) == {message.kind for message in MESSAGES}
    assert {message.kind for message in MESSAGES} <= set(BY_KIND)


def test_sluicegate_sends_its_dispositions_and_receives_what_others_write() -> None:
    actions = {name: one["action"] for name, one in DOCUMENT["operations"].items()}
    assert actions == {
        "receiveDecisions": "receive",
        "receiveSuccessors": "receive",
        "receiveReceipts": "receive",
        "receiveContext": "receive",
        "sendCommands": "send",
        "sendReviews": "send",
        "sendExceptions": "send",
        "sendReevaluations": "send",
        "sendRejections": "send",
        "receiveVerdicts": "receive",
        "sendPolicies": "send",
        "receiveWorkers": "receive",
    }
    assert DOCUMENT["operations"]["sendReviews"]["reply"]["channel"] == {"$ref": "#/channels/verdicts"}
    assert set(DOCUMENT["channels"]["policies"]["messages"]) == {"halt", "recall"}
    assert DOCUMENT["operations"]["sendCommands"]["reply"]["channel"] == {"$ref": "#/channels/receipts"}


@EACH_MESSAGE
def test_a_channel_is_the_topic(message: Message) -> None:
    channel = DOCUMENT["channels"][message.kind]
    assert channel["address"] == "{prefix}" + message.kind
    configuration = channel["bindings"]["kafka"]["topicConfiguration"]
    settings = BY_KIND[message.kind].settings
    assert configuration["message.timestamp.type"] == "LogAppendTime"
    assert str(configuration["max.message.bytes"]) == settings["max.message.bytes"].value
    assert configuration["cleanup.policy"] == [settings["cleanup.policy"].value]
    if message.kind in ("context", "policies"):
        assert "retention.ms" not in configuration, "compacted: the present state is never too old to be kept"
    else:
        assert str(configuration["retention.ms"]) == settings["retention.ms"].value


@EACH_MESSAGE
def test_whoever_reads_an_output_is_told_to_read_what_is_committed(message: Message) -> None:
    said = "isolation.level=read_committed" in DOCUMENT["channels"][message.kind]["description"]
    assert said is (message.action == "send")
    assert "isolation.level=read_committed" in DOCUMENT["info"]["description"]


@EACH_MESSAGE
def test_the_example_is_valid_by_the_messages_own_schemas(message: Message) -> None:
    told = message_of(message)
    (example,) = told["examples"]
    complete(told["payload"]).validate(example["payload"])
    complete(told["headers"]).validate(example.get("headers", {}))
    assert not complete(told["payload"]).is_valid({**example["payload"], message.id_field or "by": None})
    assert ("correlationId" in told) is (message.id_field is not None)


@EACH_MESSAGE
def test_the_payload_schema_is_the_published_one(message: Message) -> None:
    published = json.loads((FOLDER / f"{message.family}.schema.json").read_text())
    title = published["title"]
    mine = DOCUMENT["components"]["schemas"][title]
    assert set(mine["properties"]) == set(published["properties"])
    assert mine["required"] == published["required"]
    assert message_of(message)["payload"] == {"$ref": f"#/components/schemas/{title}"}


@EACH_MESSAGE
def test_the_headers_are_those_of_the_contract(message: Message) -> None:
    schema = message_of(message)["headers"]
    known = headers_of(message)
    assert list(schema["properties"]) == [header.name for header in known]
    if message.kind == "verdicts":
        assert schema["required"] == ["sluicegate-signature"], "by itself `by` is a claim"
    elif message.action == "send" and message.kind != "policies":
        assert known == headers.of_topic(message.kind)
        assert schema["required"] == [header.name for header in known if header.always]
        assert schema["properties"]["ce_type"]["const"] == f"sluicegate.{message.family}.v1"
    else:
        assert "required" not in schema, "nobody is made to send headers"


@EACH_MESSAGE
def test_the_example_is_what_its_struct_reads(message: Message) -> None:
    again = msgspec.convert(message_of(message)["examples"][0]["payload"], dict[str, Any])
    struct = type(EXAMPLES[message.family])
    assert msgspec.json.decode(msgspec.json.encode(again), type=struct) == EXAMPLES[message.family]


def test_the_identifiers_of_the_examples_can_be_computed_again() -> None:
    where = (COMMAND.source.topic, COMMAND.source.partition, COMMAND.source.offset)
    assert COMMAND.command_id == command_id(root_digest(DECISION.id))
    assert REVIEW.review_id == review_id(*where)
    assert EXCEPTION.exception_id == exception_id(*where, EXCEPTION.reason)
    assert REVIEW.action_digest == action_digest(bytes(DECISION.action))
    assert msgspec.json.decode(REVIEW.decision, type=Decision) == DECISION


def test_the_examples_of_a_re_evaluation_are_one_story() -> None:
    """A stale decision, the request, the question, the answer, and the successor that it becomes."""
    where = (REEVALUATION.source.topic, REEVALUATION.source.partition, REEVALUATION.source.offset)
    assert REEVALUATION.request_id == request_id(*where)
    assert msgspec.json.decode(REEVALUATION.decision, type=Decision) == DECISION
    assert REEVALUATION.attempts[-1].attempt == REEVALUATION.attempt
    stages_ms = msgspec.to_builtins(REEVALUATION.stages_ms)
    assert sum(stages_ms.values()) == REEVALUATION.age_ms
    assert QUESTION.id == SUCCESSOR.id == successor_id(REEVALUATION.root_id, REEVALUATION.attempt + 1)
    assert QUESTION.context is not None and QUESTION.context.version == SUCCESSOR.context_version
    assert ANSWER.action == SUCCESSOR.action and ANSWER.observed_at_ms == SUCCESSOR.observed_at_ms
    assert SUCCESSOR.cause == REEVALUATION.reason and SUCCESSOR.attempts == REEVALUATION.attempts
    assert SUCCESSOR.final_deadline_ms == REEVALUATION.final_deadline_ms
    assert SUCCESSOR.caused_by is not None and SUCCESSOR.caused_by.topic == "sluicegate.reevaluations"
