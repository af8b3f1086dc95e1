"""CloudEvents through a running gate: written and read with the official SDK, judged by the audit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import (
    OUTPUTS,
    SLUICEGATE,
    Child,
    Record,
    audited,
    committed_is,
    decision,
    now_ms,
    read,
    send,
    worker,
    write_policies,
)

TRACE = (("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", b"rojo=1"))


def rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds")


def event(body: dict[str, Any], convert: Callable[[CloudEvent], KafkaMessage], topic: str, **attributes: Any) -> Record:
    """The record that the SDK makes of a decision, with a trace context beside it."""
    named = {"type": "rating.decided", "source": "/rater", "partitionkey": body["entity"], **attributes}
    message = convert(CloudEvent(named, body))
    assert isinstance(message.key, str)
    return Record(topic, message.key.encode(), message.value, 0, (*message.headers.items(), *TRACE))


async def read_events(kafka: Broker, prefix: str, count: int) -> dict[str, tuple[CloudEvent, Record]]:
    """The outputs by the decision that they answer, as the SDK reads them."""
    found = {}
    for one in await read(kafka.bootstrap, [prefix + output for output in OUTPUTS], count):
        assert one.value is not None
        read_event = from_kafka_event(KafkaMessage(dict(one.headers), one.key, one.value))
        assert isinstance(read_event, CloudEvent)
        found[one.json()["decision_id"]] = (read_event, one)
    return found


async def test_both_modes_go_through_a_real_gate_and_come_out_as_cloudevents(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    await apply(kafka.bootstrap, prefix, partitions=1)
    topic, soon_ms, late_ms = f"{prefix}decisions", now_ms() + 120_000, now_ms() - 1
    records = [
        event(decision("binary"), to_binary_event, topic, expirytime=rfc3339(soon_ms)),
        event(decision("structured"), to_structured_event, topic, expirytime=rfc3339(soon_ms)),
        event(decision("dear", value_minor=900_000), to_structured_event, topic, expirytime=rfc3339(soon_ms)),
        event(decision("expired"), to_binary_event, topic, expirytime=rfc3339(late_ms)),
        event(decision("unknown", workflow="?"), to_structured_event, topic),
        Record(topic, b"acct-1", orjson.dumps(decision("plain")), 0),
    ]
    with worker(kafka.bootstrap, prefix, tmp_path) as child:
        await send(kafka.bootstrap, records)
        found = await read_events(kafka, prefix, len(records))
        await committed_is(kafka.bootstrap, f"{prefix}gate", {(topic, 0): len(records)})
        verdict = await audited(kafka.bootstrap, prefix, f"{prefix}gate")
        assert await child.stop() == 0, child.log
    assert verdict["ok"] and verdict["inputs"] == len(records), verdict

    kinds = {name: (one.get_type(), one.get_id()) for name, (one, _) in found.items()}
    bodies = {name: one.json() for name, (_, one) in found.items()}
    assert kinds == {
        "binary": ("sluicegate.command.v1", bodies["binary"]["command_id"]),
        "structured": ("sluicegate.command.v1", bodies["structured"]["command_id"]),
        "plain": ("sluicegate.command.v1", bodies["plain"]["command_id"]),
        "dear": ("sluicegate.review.v1", bodies["dear"]["review_id"]),
        "expired": ("sluicegate.exception.v1", bodies["expired"]["exception_id"]),
        "unknown": ("sluicegate.exception.v1", bodies["unknown"]["exception_id"]),
    }
    assert {one.get_source() for one, _ in found.values()} == {"sluicegate/gate"}
    assert {one.get_subject() for one, _ in found.values()} == {"acct-1"}
    for name in ("binary", "structured", "dear"):
        assert bodies[name]["deadline_ms"] == soon_ms
        assert datetime.fromisoformat(found[name][0].get_extension("expirytime")) == datetime.fromisoformat(
            rfc3339(soon_ms)
        )
    assert (bodies["expired"]["reason"], bodies["unknown"]["reason"]) == ("stale.expired", "invalid.unknown_workflow")
    for name, (_, one) in found.items():
        traced = tuple(pair for pair in one.headers if pair[0] in dict(TRACE))
        assert traced == (() if name == "plain" else TRACE), name
    dead = dict(found["expired"][1].headers)
    assert (dead["__dlq.errors.topic"], dead["__dlq.errors.offset"]) == (topic.encode(), b"3")
    assert dead["__dlq.errors.group"] == f"{prefix}gate".encode()


@pytest.mark.parametrize("how", ["option", "environment"])
async def test_a_worker_may_leave_cloudevents_out(kafka: Broker, prefix: str, tmp_path: Path, how: str) -> None:
    """As `sluicegate worker` passes it on to its child; what `sluicegate tail` then shows."""
    await apply(kafka.bootstrap, prefix, partitions=1)
    policies = write_policies(tmp_path / "policies")
    where = [f"--bootstrap={kafka.bootstrap}", f"--prefix={prefix}"]
    option = ["--no-cloudevents"] if how == "option" else []
    environment = {"SLUICEGATE_CLOUDEVENTS": "0"} if how == "environment" else {}
    command = [*SLUICEGATE, "worker", "--roles=gate", *where, f"--policies={policies}", *option]
    with Child(command, tmp_path / "worker.log", environment) as child:
        good = Record(f"{prefix}decisions", b"acct-1", orjson.dumps(decision("d-1")), 0, TRACE)
        await send(kafka.bootstrap, [good, good._replace(value=b"{")])
        found = {
            one.topic.removeprefix(prefix): one
            for one in await read(kafka.bootstrap, [prefix + "commands", prefix + "exceptions"], 2)
        }
        looking = [*SLUICEGATE, "tail", "commands", *where, "--from-beginning", "-n", "1", "--output", "json"]
        with Child(looking, tmp_path / "tail.log") as shown:
            assert await shown.ended() == 0, shown.log
        assert await child.stop() == 0, child.log
    assert found["commands"].headers == TRACE
    names = {name for name, _ in found["exceptions"].headers}
    assert "__dlq.errors.topic" in names and not [name for name in names if name.startswith(("ce_", "content"))]
    assert orjson.loads(shown.log)["headers"] == {name: value.decode() for name, value in TRACE}
