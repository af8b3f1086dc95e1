"""Batches as a broker keeps them: some that no client of ours would make, appended; and what it made of others."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest

from streams.runtime.broker import Broker

YOUNG = (3, 6)  # a topic that was made a moment ago: its leader has not heard of it, or of being its leader


async def append(client: AIOKafkaProducer, topic: str, batch: bytes) -> int:
    """Appends a batch to partition 0 as it is; returns its offset."""
    await client.partitions_for(topic)
    while True:
        node = client.client.cluster.leader_for_partition(TopicPartition(topic, 0))
        answer = await client.client.send(node, ProduceRequest(None, -1, 30_000, [(topic, [(0, batch)])]))
        ((_, ((_, code, offset, *_),)),) = answer.topics
        if code not in YOUNG:
            assert code == 0, answer
            return int(offset)
        await asyncio.sleep(0.05)


def codecs_of(kafka: Broker, topic: str) -> set[int]:
    """In which codecs the broker keeps the batches of partition 0 that are no markers."""
    found, at = set(), 0
    data = b"".join(one.read_bytes() for one in sorted((kafka.data / "log" / f"{topic}-0").glob("*.log")))
    while at + 61 <= len(data) and (length := int.from_bytes(data[at + 8 : at + 12], "big")):
        if not data[at + 22] & 0x20:
            found.add(data[at + 22] & 7)
        at += 12 + length
    return found
