"""The harness's own clients: topics made and removed, decisions sent in bulk, and outputs as a reader may see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import DefaultPartitioner

from schemas.topics import names
from streams.errors import CheckFailed
from streams.runtime import topics
from streams.runtime.lookup import Lookup
from streams.runtime.settings import Kafka
from streams.runtime.transactions import Failed
from tests.bench.job import ENTITIES, OUTPUTS, Load, entity_of
from tests.bench.process import Place

INPUT_BATCH_BYTES = 65_536
READ_IDLE_S = 20.0
FETCH_WAIT_MS = 5


@asynccontextmanager
async def own_topics(place: Place) -> AsyncIterator[None]:
    """The topics of one run, the same for whoever is measured; removed afterwards: a round is half a gigabyte."""
    await topics.apply(place.bootstrap, place.prefix, place.partitions)
    await _tell(place)
    try:
        yield
    finally:
        admin = AIOKafkaAdminClient(bootstrap_servers=place.bootstrap)
        await admin.start()
        try:
            await admin.delete_topics(list(names(place.prefix)))
        finally:
            await admin.close()


async def _tell(place: Place) -> None:
    """The context of every entity of the job, for whoever looks at it."""
    producer = AIOKafkaProducer(bootstrap_servers=place.bootstrap, acks="all")
    await producer.start()
    try:
        for number in range(ENTITIES):
            entity = entity_of(number)
            state = b'{"entity":"%s","version":1,"at_ms":0,"state":{"tier":"a"}}' % entity
            await producer.send(place.topic("context"), state, key=entity)
        await producer.flush()
    finally:
        await producer.stop()


async def fill(place: Place, load: Load, numbers: Iterable[int]) -> None:
    """Sends these decisions as fast as it goes, in batches, each to the partition of its key (murmur2)."""
    partitioner, everywhere = DefaultPartitioner(), list(range(place.partitions))
    partition_of = {key: partitioner(key, everywhere, everywhere) for key in set(load.keys)}
    producer = AIOKafkaProducer(bootstrap_servers=place.bootstrap, max_batch_size=INPUT_BATCH_BYTES, acks="all")
    await producer.start()
    acknowledged: list[asyncio.Future[Any]] = []
    batches: dict[int, Any] = {}
    try:
        for number in numbers:
            key, value = load.keys[number], load.values[number]
            partition = partition_of[key]
            batch = batches.get(partition)
            if batch is None:
                batch = batches[partition] = producer.create_batch()
            if batch.append(key=key, value=value, timestamp=None) is None:
                acknowledged.append(await producer.send_batch(batch, place.topic("decisions"), partition=partition))
                batch = batches[partition] = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        for partition, batch in batches.items():
            acknowledged.append(await producer.send_batch(batch, place.topic("decisions"), partition=partition))
        await asyncio.gather(*acknowledged)
    finally:
        await producer.stop()


class Outputs:
    """The three outputs as a read_committed reader sees them: how far it may read, and what is there."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._index = {place.topic(output): index for index, output in enumerate(OUTPUTS)}
        self._places = [TopicPartition(topic, n) for topic in self._index for n in range(place.partitions)]
        self._inputs = [TopicPartition(place.topic("decisions"), n) for n in range(place.partitions)]
        self._lookup = Lookup(Kafka(place.bootstrap, place.prefix))
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=place.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )

    async def __aenter__(self) -> Outputs:
        await self._consumer.start()
        self._consumer.assign(self._places)
        self._consumer.pause(*self._places)  # until somebody reads: watching must not cost what is measured
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._lookup.stop()
        await self._consumer.stop()

    async def visible(self) -> int:
        """The last stable offsets, summed: what may be read, and the few marks that transactions leave among it."""
        return sum((await self._consumer.end_offsets(self._places)).values())

    async def answered(self) -> int:
        """How many decisions the group has committed; 0 while its coordinator does not say."""
        try:
            return sum((await self._lookup.committed(self._place.group, self._inputs)).values())
        except Failed:
            return 0

    async def read(self, wait_ms: int) -> list[tuple[int, bytes]]:
        """The next records as (index of the output, value); none when nothing came in that time."""
        self._consumer.resume(*self._places)
        found = await self._consumer.getmany(timeout_ms=wait_ms)
        return [(self._index[place.topic], record.value) for place, records in found.items() for record in records]

    async def read_to_the_end(self) -> AsyncIterator[tuple[int, bytes]]:
        """All records up to the present last stable offsets. Raises CheckFailed when they cannot be reached."""
        ends = await self._consumer.end_offsets(self._places)
        idle_s = 0.0
        while any([await self._consumer.position(place) < ends[place] for place in self._places]):
            found = await self.read(500)
            idle_s = 0.0 if found else idle_s + 0.5
            if idle_s > READ_IDLE_S:
                raise CheckFailed(
                    f"the outputs under {self._place.prefix} cannot be read to their end: look at the broker"
                )
            for one in found:
                yield one
