"""Batches that no client of ours would make, appended as they are."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.produce import ProduceRequest


async def append(client: AIOKafkaProducer, topic: str, batch: bytes) -> int:
    """Appends a batch to partition 0 as it is; returns its offset."""
    await client.partitions_for(topic)
    node = client.client.cluster.leader_for_partition(TopicPartition(topic, 0))
    answer = await client.client.send(node, ProduceRequest(None, -1, 30_000, [(topic, [(0, batch)])]))
    ((_, ((_, code, offset, *_),)),) = answer.topics
    assert code == 0, answer
    return int(offset)
