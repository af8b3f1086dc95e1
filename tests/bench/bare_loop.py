"""The job in a bare aiokafka loop: what exactly once costs without a gate around it. The yardstick of `make bench`.

A transactional producer per partition, a transaction per fetched batch, offsets inside it, both waits of aiokafka
shortened as the gate shortens them. No window, no policies, no headers, no metrics, no hand-over: if the group had a
second member, this would be wrong. Its settings come from the environment, the same as those of `peer.sh`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import time
from typing import Any

import aiokafka.producer.sender
import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from tests.bench.job import COMMANDS, CONFIDENCE_FLOOR, EXCEPTIONS, OUTPUTS, REVIEWS, WORKFLOWS

RETRY_MS = 2
aiokafka.producer.sender.BACKOFF_OVERRIDE = RETRY_MS / 1000
BATCH_RECORDS_MAX = 4_000
PRODUCER_BATCH_BYTES = 262_144
FETCH_MS = 200


class Decision(msgspec.Struct, gc=False):
    id: str
    workflow: str
    entity: str
    action: msgspec.Raw
    observed_at_ms: int
    decided_at_ms: int
    confidence: float
    value_minor: int


class Inference(msgspec.Struct, gc=False):
    inference: int


class Command(msgspec.Struct, gc=False):
    command_id: str
    decision_id: str
    action: msgspec.Raw
    entity: str
    deadline_ms: int
    policy: str
    age_ms: int
    stages_ms: Inference


class Review(msgspec.Struct, gc=False):
    decision_id: str
    reasons: tuple[str]
    decision: msgspec.Raw


class Source(msgspec.Struct, gc=False):
    topic: str
    partition: int
    offset: int


class Stale(msgspec.Struct, gc=False):
    decision_id: str
    age_ms: int
    budget_ms: int
    source: Source
    decision: msgspec.Raw
    reason: str = "stale"


class Invalid(msgspec.Struct, gc=False):
    source: Source
    raw: str
    decision_id: str | None = None
    reason: str = "invalid"


_decode = msgspec.json.Decoder(Decision).decode
_encode = msgspec.json.Encoder().encode


def decide(record: Any, now_ms: int) -> tuple[int, bytes]:
    """Which output, and its bytes. Raises nothing."""
    value = record.value or b""
    try:
        decision = _decode(value)
        terms = WORKFLOWS[decision.workflow]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        source = Source(record.topic, record.partition, record.offset)
        return EXCEPTIONS, _encode(Invalid(source, value.decode("utf-8", "replace")))
    age_ms = now_ms - decision.observed_at_ms
    if age_ms >= terms.budget_ms:
        source = Source(record.topic, record.partition, record.offset)
        return EXCEPTIONS, _encode(Stale(decision.id, age_ms, terms.budget_ms, source, msgspec.Raw(value)))
    if decision.value_minor > terms.limit_minor:
        return REVIEWS, _encode(Review(decision.id, ("value",), msgspec.Raw(value)))
    if decision.confidence < CONFIDENCE_FLOOR:
        return REVIEWS, _encode(Review(decision.id, ("confidence",), msgspec.Raw(value)))
    command = Command(
        "c-" + hashlib.sha256(b"sluicegate:" + decision.id.encode()).hexdigest()[:32],
        decision.id,
        decision.action,
        decision.entity,
        decision.observed_at_ms + terms.budget_ms,
        "v1",
        age_ms,
        Inference(decision.decided_at_ms - decision.observed_at_ms),
    )
    return COMMANDS, _encode(command)


class Loop:
    """One partition: fetch, decide, one transaction, again."""

    def __init__(self, consumer: AIOKafkaConsumer, place: TopicPartition, bootstrap: str, prefix: str, group: str):
        self._consumer, self._place, self._group = consumer, place, group
        self._topics = [prefix + output for output in OUTPUTS]
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=f"{group}-{place.partition}",
            max_batch_size=PRODUCER_BATCH_BYTES,
            linger_ms=0,
            retry_backoff_ms=RETRY_MS,
        )

    async def run(self, stop: asyncio.Event) -> None:
        await self._producer.start()
        try:
            while not stop.is_set():
                found = await self._consumer.getmany(self._place, timeout_ms=FETCH_MS, max_records=BATCH_RECORDS_MAX)
                if records := found.get(self._place):
                    await self._transact(records)
        finally:
            await self._producer.stop()

    async def _transact(self, records: list[Any]) -> None:
        producer, partition, now_ms = self._producer, self._place.partition, time.time_ns() // 1_000_000
        await producer.begin_transaction()
        batches: list[Any] = [None] * len(OUTPUTS)
        acknowledged = []
        for record in records:
            output, value = decide(record, now_ms)
            batch = batches[output]
            if batch is None:
                batch = batches[output] = producer.create_batch()
            if batch.append(key=record.key, value=value, timestamp=None) is None:
                acknowledged.append(await producer.send_batch(batch, self._topics[output], partition=partition))
                batch = batches[output] = producer.create_batch()
                batch.append(key=record.key, value=value, timestamp=None)
        for output, batch in enumerate(batches):
            if batch is not None:
                acknowledged.append(await producer.send_batch(batch, self._topics[output], partition=partition))
        await producer.send_offsets_to_transaction({self._place: records[-1].offset + 1}, self._group)
        await producer.commit_transaction()
        for answer in acknowledged:
            answer.result()


async def main() -> None:
    bootstrap, prefix, group = (os.environ[name] for name in ("BOOTSTRAP", "TOPIC_PREFIX", "GROUP_ID"))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    consumer = AIOKafkaConsumer(
        prefix + "decisions",
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        while not (places := consumer.assignment()) and not stop.is_set():
            await asyncio.sleep(0.05)
        async with asyncio.TaskGroup() as tasks:
            for place in places:
                tasks.create_task(Loop(consumer, place, bootstrap, prefix, group).run(stop))
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
