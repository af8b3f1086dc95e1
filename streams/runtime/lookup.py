"""Questions to the broker that need no group: offsets, ends, the changelog. All waits are bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.runtime.identity import Metadata, identities
from streams.runtime.records import Unreadable, telling
from streams.runtime.settings import FETCH_BYTES_MAX, FETCH_RECORDS_MAX, REQUEST_S, Kafka
from streams.runtime.tasks import closed
from streams.runtime.transactions import Failed
from streams.truths import Apart, TopicIdentity

READ_IDLE_S = 20.0  # a changelog that brings nothing for so long is held back by a transaction that nobody ends
READ_S = 0.2
READABLE_S = 2.0  # a record that is there comes in a fraction of it
ASK_AGAIN_MS = 20  # a client that does not know a topic yet sleeps so long: several times a hand-over; usual is 100
_ERRORS = (KafkaError, TimeoutError, OSError)


class Lookup:
    """A client of its own, opened anew after each failure: a broken connection is not carried along."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None
        self._lock = asyncio.Lock()

    async def stop(self) -> None:
        consumer, admin, self._consumer, self._admin = self._consumer, self._admin, None, None
        if consumer is not None:
            await closed(consumer.stop(), 2.0)
        if admin is not None:
            await closed(admin.close(), 2.0)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The high watermark of each: past every record, also those of open transactions. Raises Failed."""
        async with self._lock:
            return await self._asked("end_offsets", partitions)

    async def beginnings(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The oldest offset that is still there. Raises Failed."""
        async with self._lock:
            return await self._asked("beginning_offsets", partitions)

    async def _asked(self, question: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            if self._consumer is None:
                self._consumer = AIOKafkaConsumer(
                    bootstrap_servers=self._kafka.bootstrap,
                    request_timeout_ms=int(REQUEST_S * 1000),
                    retry_backoff_ms=ASK_AGAIN_MS,
                )
                await asyncio.wait_for(self._consumer.start(), REQUEST_S)
            answer: dict[TopicPartition, int] = await asyncio.wait_for(
                getattr(self._consumer, question)(list(partitions)), REQUEST_S
            )
        except _ERRORS as error:
            await self.stop()
            raise Failed(f"{type(error).__name__}: {error}") from error
        return answer

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's next offset to read, for the partitions that have one. Raises Failed.

        aiokafka does not look at the error of the whole answer. A coordinator that is still loading answers with one
        and no partitions; taken for "nothing committed" it would make us begin from the beginning. So a partition
        that was asked for and is not in the answer is a failure.
        """
        asked = set(partitions)
        async with self._lock:
            try:
                admin = await self._asker()
                found = await asyncio.wait_for(
                    admin.list_consumer_group_offsets(group, partitions=list(asked)), REQUEST_S
                )
            except (*_ERRORS, AttributeError) as error:
                # the AttributeError is aiokafka's own, on the way to name the error of a single partition
                await self.stop()
                raise Failed(f"{type(error).__name__}: {error}") from error
        if asked - found.keys():
            raise Failed(f"the coordinator of the group {group} does not say what is committed yet")
        return {partition: at.offset for partition, at in found.items() if at.offset >= 0}

    async def _asker(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(
                bootstrap_servers=self._kafka.bootstrap, request_timeout_ms=int(REQUEST_S * 1000)
            )
            await asyncio.wait_for(self._admin.start(), REQUEST_S)
        return self._admin

    async def identities(self, topics: Iterable[str]) -> tuple[str, dict[str, TopicIdentity]]:
        """The cluster's id, and each topic as the broker knows it now. Raises Failed, also when one is not there."""
        asked = set(topics)
        async with self._lock:
            try:
                client = (await self._asker())._client
                answer = await asyncio.wait_for(client.send(client.get_random_node(), Metadata(asked)), REQUEST_S)
            except _ERRORS as error:
                await self.stop()
                raise Failed(f"{type(error).__name__}: {error}") from error
        cluster, found = identities(answer)
        if gone := asked - found.keys():
            raise Failed(f"there is no topic {', '.join(sorted(gone))}")
        return cluster, found

    async def changelog(self, role: str, number: int) -> dict[str, bytes]:
        """The newest value of each of the role's slots in partition `number` of `state`: `<store>/<slot>` -> value.

        Read to the end as it was when asked, also past transactions of other roles that are still open: they are
        waited for, since records of ours may stand behind them. Raises Failed, and Apart where a batch cannot
        be read: what it remembers is lost.
        """
        partition = TopicPartition(self._kafka.topic("state"), number)
        end = (await self.ends([partition]))[partition]
        mine = f"{role}/{number}/".encode()
        found: dict[str, bytes] = {}
        consumer = reader(self._kafka, "earliest", telling=telling)
        try:
            await asyncio.wait_for(consumer.start(), REQUEST_S)
            consumer.assign([partition])
            await asyncio.wait_for(consumer.seek_to_beginning(partition), REQUEST_S)
            while (position := await asyncio.wait_for(consumer.position(partition), REQUEST_S)) < end:
                records = await _next_records(consumer, partition, position)
                for record in records:
                    if type(record) is Unreadable:
                        raise Apart(
                            f"partition {number} of {partition.topic} cannot be read: the batch of offsets "
                            f"{record.offset} to {record.through} is damaged ({record.detail})"
                        )
                    if record.key is None or not record.key.startswith(mine):
                        continue
                    slot = record.key[len(mine) :].decode(errors="backslashreplace")  # not ours: no store has it
                    if record.value is None:
                        found.pop(slot, None)
                    else:
                        found[slot] = record.value
        except _ERRORS as error:
            raise Failed(f"{type(error).__name__}: {error}") from error
        finally:
            await closed(consumer.stop(), 2.0)
        return found

    async def readable(self, partition: TopicPartition, offset: int) -> bool:
        """Whether a read_committed reader finds a record at or past `offset`, within `READABLE_S`. Raises Failed."""
        consumer = reader(self._kafka, "earliest")
        try:
            await asyncio.wait_for(consumer.start(), REQUEST_S)
            consumer.assign([partition])
            consumer.seek(partition, offset)
            for _ in range(int(READABLE_S / READ_S)):
                if await consumer.getmany(partition, timeout_ms=int(READ_S * 1000)):
                    return True
        except _ERRORS as error:
            raise Failed(f"{type(error).__name__}: {error}") from error
        finally:
            await closed(consumer.stop(), 2.0)
        return False


def reader(
    kafka: Kafka,
    reset: Literal["earliest", "none"],
    level: Literal["read_committed", "read_uncommitted"] = "read_committed",
    telling: Callable[[bytes], bytes] | None = None,
) -> AIOKafkaConsumer:
    """A consumer without a group, for partitions that are assigned by hand.

    `reset`: where to read on when an offset is no longer there; "none" raises OffsetOutOfRangeError instead.
    What cannot be read is passed over with a warning, unless `telling` asks for it.
    """
    return AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap,
        request_timeout_ms=int(REQUEST_S * 1000),
        isolation_level=level,
        enable_auto_commit=False,
        auto_offset_reset=reset,
        key_deserializer=telling,
        max_poll_records=FETCH_RECORDS_MAX,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=100,
        retry_backoff_ms=ASK_AGAIN_MS,
    )


async def _next_records(consumer: AIOKafkaConsumer, partition: TopicPartition, position: int) -> list[Any]:
    """The next records, or none when only the position moved (control records, aborted ones). Raises Failed."""
    waited_s = 0.0
    while waited_s < READ_IDLE_S:
        records: list[Any] = (await consumer.getmany(partition, timeout_ms=int(READ_S * 1000))).get(partition, [])
        if records or await consumer.position(partition) > position:
            return records
        waited_s += READ_S
    raise Failed(f"{partition.topic}/{partition.partition} brings nothing past offset {position}")
