"""The audit on a real Kafka: what it reads is what a read_committed consumer may see, to the end, and no more."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import OffsetAndMetadata
from click.testing import CliRunner, Result

from agents.audit.run import Scope, audit
from agents.cli.audit import audit as command_line
from streams.errors import BrokerUnreachable, CheckFailed, ConfigurationError
from streams.runtime.broker import Broker
from tests.agents.audit.records import (
    Rec,
    command,
    decision,
    exception,
    found,
    raw,
    request,
    review,
    successor,
    unsaved,
)

pytestmark = pytest.mark.kafka
GROUP = "audit-test"


@asynccontextmanager
async def producing(kafka: Broker, prefix: str, name: str = "gate") -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{prefix}{name}")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def create(kafka: Broker, prefix: str, *roles: str) -> None:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    try:
        configs = {"message.timestamp.type": "LogAppendTime"}
        topics = [NewTopic(prefix + role, 2, 1, topic_configs=configs) for role in roles]
        await client.create_topics(topics)
    finally:
        await client.close()


async def send(producer: Any, prefix: str, records: Sequence[Rec]) -> None:
    """Sends within the open transaction; records name their topics as `t.<role>`."""
    for record in records:
        topic = prefix + record.topic.removeprefix("t.")
        await producer.send_and_wait(topic, record.value, record.key, record.partition)


def moved(records: Sequence[Rec], prefix: str) -> list[Rec]:
    """The inputs as the outputs must name them: on the topics of this prefix."""
    return [replace(record, topic=prefix + record.topic.removeprefix("t.")) for record in records]


async def fill(kafka: Broker, prefix: str, *, lose: int = 0, commit_past: int = 10) -> None:
    """Inputs at offsets 0, 1 and, behind an aborted and its marker, 5 and 6 of partition 0; all answered but `lose`.

    Every commit and abort leaves a marker; an aborted wrong answer stands between the good ones and at the end.
    """
    await create(kafka, prefix, "decisions", "commands", "reviews", "exceptions")
    inputs = [decision(0), decision(1), decision(5), raw(6, b"{not json"), decision(0, partition=1)]
    given = moved(inputs, prefix)
    answers = [
        command(given[0]),
        review(given[1]),
        exception(given[2]),
        exception(given[3], "invalid.json"),
        command(given[4]),
    ]
    later_ms = int(time.time() * 1000) + 600_000
    answers = [answer.changed(deadline_ms=later_ms) if "commands" in answer.topic else answer for answer in answers]
    answers = [replace(answer, topic="t." + answer.topic.removeprefix("t.")) for answer in answers]
    async with producing(kafka, prefix) as producer:
        async with producer.transaction():
            await send(producer, prefix, inputs[:2] + inputs[4:])
        await producer.begin_transaction()
        await send(producer, prefix, [decision(3)])
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, prefix, inputs[2:4])
        async with producer.transaction():
            await send(producer, prefix, answers[:2])
        await producer.begin_transaction()
        await send(producer, prefix, [answers[0], answers[2].changed(raw_bytes=1)])
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, prefix, answers[2 : len(answers) - lose])
            offsets = {TopicPartition(f"{prefix}decisions", 0): OffsetAndMetadata(commit_past, "")}
            await producer.send_offsets_to_transaction(offsets, GROUP + prefix)
        await producer.begin_transaction()
        await send(producer, prefix, [answers[0].changed(age_ms=-1)])
        await producer.abort_transaction()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, arguments)


async def test_exactly_the_committed_records_are_judged_and_the_exit_code_is_0(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix)
    told = await asyncio.to_thread(run, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--output", "json")
    assert told.exception is None, told.output
    report = json.loads(told.stdout)
    assert report["ok"] is True
    assert report["examples"] == {}
    counts = {name: report[name] for name in ("inputs", "pending", "commands", "reviews", "exceptions")}
    assert counts == {"inputs": 5, "pending": 0, "commands": 2, "reviews": 1, "exceptions": 2}
    assert report["by_reason"]["exceptions"] == {"invalid.json": 1, "stale.age": 1}


async def test_a_lost_record_ends_with_exit_code_1_and_is_named(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix, lose=1)
    told = await asyncio.to_thread(run, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--output", "json")
    assert isinstance(told.exception, CheckFailed)
    assert told.exception.exit_code == 1
    report = json.loads(told.stdout)
    assert (report["ok"], report["missing"]) == (False, 1)
    example = report["examples"]["missing"][0]
    assert (example["topic"], example["partition"], example["offset"]) == (f"{prefix}decisions", 1, 0)

    readable = await asyncio.to_thread(run, "--bootstrap", kafka.bootstrap, "--prefix", prefix)
    assert isinstance(readable.exception, CheckFailed)
    assert "missing 1" in readable.stdout
    assert "no disposition" in readable.stdout


async def fill_lineage(kafka: Broker, prefix: str) -> None:
    """A decision asked about again twice, its second request and another decision's without an answer but one."""
    await create(kafka, prefix, "decisions", "successors", "commands", "exceptions", "reevaluations")
    inputs = [decision(0, "d-1"), decision(1, "d-2"), decision(0, "d-3", partition=1)]
    given = moved(inputs, prefix)
    asked = [request(given[0]), request(given[1]), request(given[2])]
    answers = [successor(moved([asked[0]], prefix)[0])]
    # behind the marker of the requests' transaction, and of the successor's
    again = moved(answers, prefix)[0]
    asked.append(request(again, offset=3))
    async with producing(kafka, prefix) as producer:
        async with producer.transaction():
            await send(producer, prefix, inputs)
        async with producer.transaction():
            await send(producer, prefix, asked[:3])
        async with producer.transaction():
            await send(producer, prefix, [*answers, unsaved(moved([asked[1]], prefix)[0])])
            answered = {TopicPartition(f"{prefix}reevaluations", 0): OffsetAndMetadata(3, "")}
            await producer.send_offsets_to_transaction(answered, f"{prefix}reevaluation")
        await producer.begin_transaction()
        await send(producer, prefix, [unsaved(moved([asked[0]], prefix)[0])])
        await producer.abort_transaction()
        async with producer.transaction():
            await send(producer, prefix, asked[3:])
            for topic, number, offset in (("decisions", 0, 3), ("decisions", 1, 2), ("successors", 0, 2)):
                done = {TopicPartition(f"{prefix}{topic}", number): OffsetAndMetadata(offset, "")}
                await producer.send_offsets_to_transaction(done, f"{prefix}gate")


async def test_lineage_is_followed_and_what_the_second_group_has_not_reached_is_pending(
    kafka: Broker, prefix: str
) -> None:
    await fill_lineage(kafka, prefix)
    result = await audit(Scope(kafka.bootstrap, prefix, f"{prefix}gate"))
    assert found(result) == {}, result.examples
    assert (result.inputs, result.successors, result.reevaluations) == (4, 1, 4)
    assert (result.reevaluations_answered, result.reevaluations_pending, result.highest_attempt) == (2, 2, 2)
    everything = await audit(Scope(kafka.bootstrap, prefix))
    assert found(everything) == {"unanswered": 2}
    other = ("--reevaluation-group", f"{prefix}nobody", "--output", "json")
    told = await asyncio.to_thread(run, "--bootstrap", kafka.bootstrap, "--prefix", prefix, *other)
    assert json.loads(told.stdout)["reevaluations_pending"] == 2


async def test_an_open_transaction_on_successors_is_waited_for(kafka: Broker, prefix: str) -> None:
    """Its request may be answered by it: the group's offset and the answer become visible one after the other."""
    await fill_lineage(kafka, prefix)
    async with producing(kafka, prefix, "reevaluation") as producer:
        await producer.begin_transaction()
        await send(producer, prefix, [successor(request(decision(5, "d-9")))])
        with pytest.raises(CheckFailed, match="successors partition 0 can be read up to offset 2 of 3 only"):
            await audit(Scope(kafka.bootstrap, prefix, f"{prefix}gate", stall_s=0.5))
        await producer.abort_transaction()


async def test_with_a_group_what_it_has_not_committed_is_pending(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix, lose=1)
    result = await audit(Scope(kafka.bootstrap, prefix, GROUP + prefix))
    assert (found(result), result.pending) == ({}, 1)


async def test_an_open_transaction_on_an_output_is_waited_for(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix, lose=1)
    given = moved([decision(0, partition=1)], prefix)
    async with producing(kafka, prefix) as producer:
        await producer.begin_transaction()
        answer = command(given[0]).changed(deadline_ms=int(time.time() * 1000) + 600_000)
        await send(producer, prefix, [answer])
        with pytest.raises(CheckFailed, match=r"commands partition 1 can be read up to offset 0 of 1 only"):
            await audit(Scope(kafka.bootstrap, prefix, stall_s=0.5))
        waiting = asyncio.create_task(audit(Scope(kafka.bootstrap, prefix)))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await producer.commit_transaction()
        assert found(await waiting) == {}


async def test_an_open_transaction_on_an_input_is_not_yet_an_input(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix)
    async with producing(kafka, prefix, "producer") as producer:
        await producer.begin_transaction()
        await send(producer, prefix, [decision(9)])
        result = await audit(Scope(kafka.bootstrap, prefix))
        await producer.abort_transaction()
    assert (found(result), result.inputs) == ({}, 5)


async def test_progress_ends_at_the_number_of_offsets(kafka: Broker, prefix: str) -> None:
    await fill(kafka, prefix)
    heard: list[tuple[int, int]] = []
    await audit(Scope(kafka.bootstrap, prefix), lambda passed, offsets: heard.append((passed, offsets)))
    assert heard[-1][0] == heard[-1][1] > 9
    assert heard == sorted(heard)


async def test_without_decisions_there_is_nothing_to_judge(kafka: Broker, prefix: str) -> None:
    await create(kafka, prefix, "commands")
    with pytest.raises(ConfigurationError, match=f"there is no topic {prefix}decisions") as refused:
        await audit(Scope(kafka.bootstrap, prefix))
    assert refused.value.exit_code == 2


async def test_empty_topics_hold_every_promise(kafka: Broker, prefix: str) -> None:
    await create(kafka, prefix, "decisions")
    result = await audit(Scope(kafka.bootstrap, prefix, "nobody"))
    assert (result.ok, result.inputs, result.pending) == (True, 0, 0)


async def test_no_broker_is_said_in_one_sentence() -> None:
    with pytest.raises(BrokerUnreachable, match=r"no Kafka answers at 127\.0\.0\.1:1") as refused:
        await audit(Scope("127.0.0.1:1", "x."))
    assert refused.value.exit_code == 3
