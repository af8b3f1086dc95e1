"""Faust's aiokafka transport, with everything taken out that can lose or repeat a record.

What stays Faust's: the worker, the consumer thread with its heartbeats, the group protocol, agents and streams. What is
replaced, and why (FAUST.md has the facts):

- A fetch is one event per partition, not one per record.
- Faust commits nothing. Offsets travel in the lanes' transactions; `commit` reports success and does nothing, and the
  topics are read without acks, so nothing of Faust's book-keeping of acks can be wrong or grow.
- Positions are the lanes'. Faust never seeks; the thread remembers where each fetch began and ended, so that a lane can
  tell that a batch is the one that follows.
- Back-pressure is the lanes'. A full lane is left out of the next fetch, the others go on.
- The consumer reads read_committed, and inputs are assigned by range, so that partition n of each goes to one member.
  (Without tables Faust would use aiokafka's round robin, which deals the partitions of two topics out like cards.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, cast

import aiokafka
import faust
from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from streams.batch import Fetched, Input, Unread
from streams.runtime.clock import CLOCK, clock_ms
from streams.runtime.delivered import Delivered, passed, removed
from streams.runtime.lanes import Lanes
from streams.runtime.records import Unreadable, telling
from streams.runtime.settings import (
    FETCH_BYTES_MAX,
    FETCH_RECORDS_MAX,
    HEARTBEAT_S,
    REBALANCE_S,
    REQUEST_S,
    SESSION_S,
)
from streams.runtime.transactions import Failed
from streams.truths import Apart, cut_short

FETCH_S = 0.5  # how long a fetch waits for records when every lane takes some
FETCH_SHORT_S = 0.01  # ... when a lane is full: it may have room again in a moment
LOG_APPEND_TIME = 1  # Kafka's timestamp type


class Transport(driver.Transport):
    """Registered by `app.transport = Transport(...)`; gives Faust our consumer."""

    lanes: Lanes  # set once, before the app starts

    class Consumer(driver.Consumer):
        """Faust's consumer, delivering batches and committing nothing."""

        @property
        def lanes(self) -> Lanes:
            return cast(Transport, self.transport).lanes

        def _new_consumer_thread(self) -> ConsumerThread:
            return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

        # the assignment

        async def on_partitions_revoked(self, revoked: set[TP]) -> None:
            await self.lanes.release()
            await super().on_partitions_revoked(revoked)

        async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
            await super().on_partitions_assigned(assigned, generation_id)
            self.lanes.take([TopicPartition(*partition) for partition in assigned], self)

        # records

        async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
            """Yields one message per partition; its value is a `Delivered`."""
            if not self.flow_active:
                await self.wait(self.can_resume_flow.wait())
            wanted = self.lanes.wanted()
            if not wanted:
                await self._wait_for_room()
                return
            wait_s = FETCH_S if self.lanes.all_wanted() else FETCH_SHORT_S
            for delivered in await cast(ConsumerThread, self._thread).fetch(wanted, wait_s):
                partition = TP(delivered.fetched.topic, delivered.fetched.partition)
                self._read_offset[partition] = None  # no gaps to look for: see `Delivered`
                yield partition, self._as_message(partition, delivered)

        async def _wait_for_room(self) -> None:
            changed = self.lanes.changed
            changed.clear()
            if not self.lanes.wanted():
                await self.wait(changed.wait(), timeout=0.2)

        def _as_message(self, partition: TP, delivered: Delivered) -> ConsumerMessage:
            return ConsumerMessage(
                partition.topic,
                partition.partition,
                delivered.next - 1,
                0.0,
                LOG_APPEND_TIME,
                None,
                None,
                cast(Any, delivered),  # what the agent gets: `PassThrough` hands it on
                None,
                0,
                0,
                tp=partition,
                generation_id=self.app.consumer_generation_id,
            )

        # positions: the lanes' alone

        async def seek_to(self, partition: TopicPartition, offset: int) -> None:
            """Reads on at `offset`. Raises Failed when the partition is not assigned (any more)."""
            await cast(ConsumerThread, self._thread).seek_to(partition, offset)

        async def perform_seek(self) -> None:
            """Faust asks for this after a rebalance; the lanes seek, each when its hand-over has come so far."""

        # commits: the transactions' alone

        async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
            """Nothing is left to commit."""
            return True

        async def wait_empty(self) -> None:
            """Nothing is left to wait for."""

        def on_buffer_full(self, tp: TP) -> None:
            """Back-pressure is the lanes'."""

        def on_buffer_drop(self, tp: TP) -> None:
            """Back-pressure is the lanes'."""

        async def verify_all_partitions_active(self) -> None:
            """Our watchdog knows what Faust's cannot: whether a lane waits or is stuck."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._bases: dict[TopicPartition, int] = {}

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="none",  # what retention took is told, not passed over
            isolation_level="read_committed",
            key_deserializer=telling,  # what cannot be read is answered by place
            max_poll_records=min(FETCH_RECORDS_MAX, cast(Transport, transport).lanes.worker.role.batch_records_max),
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=int(FETCH_S * 1000),
            max_poll_interval_ms=86_400_000,  # whether we make progress is the watchdog's business, not the group's
            request_timeout_ms=int(REQUEST_S * 1000),
            session_timeout_ms=int(SESSION_S * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_S * 1000),
            rebalance_timeout_ms=int(REBALANCE_S * 1000),
            metadata_max_age_ms=60_000,
        )

    async def seek_to(self, partition: TopicPartition, offset: int) -> None:
        await self.call_thread(self._seek_to, partition, offset)

    async def _seek_to(self, partition: TopicPartition, offset: int) -> None:
        try:
            self._ensure_consumer().seek(partition, offset)
        except IllegalStateError as error:
            raise Failed(f"{partition.topic}/{partition.partition} is not assigned") from error
        self._bases[partition] = offset

    async def fetch(self, partitions: Iterable[TopicPartition], wait_s: float) -> list[Delivered]:
        """What has come for these partitions, waiting up to `wait_s` for the first of it."""
        found: Mapping[Any, Any] = await self.getmany({TP(*partition) for partition in partitions}, wait_s)
        shown_ms, read_ms = CLOCK.read().wall_ms, clock_ms()
        delivered = [self._delivered(TopicPartition(*at), one, read_ms, shown_ms) for at, one in found.items()]
        return [one for one in delivered if one is not None]

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        try:
            records = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        except OffsetOutOfRangeError as error:
            return await self._out_of_range(consumer, error.args[0])
        except NoOffsetForPartitionError:
            return {}  # its lane has not said yet where to read
        # nothing waits between the fetch and this: base and next belong to these records
        found = {}
        for partition in active_partitions:
            fetched = records.get(partition, ())
            base = least = self._bases.get(partition, -1)
            if fetched:
                last = fetched[-1]
                least = (last.through if type(last) is Unreadable else last.offset) + 1
            to = await self._position(consumer, partition, least)
            if fetched or to > base:
                found[partition] = (base, to, fetched)
                self._bases[partition] = to
        return found

    async def _position(self, consumer: Any, partition: TP, least: int) -> int:
        """Where it reads on: also past markers and aborted records. It is valid since the lane's seek: no waiting."""
        try:
            position: int = await consumer.position(TopicPartition(*partition))
        except IllegalStateError:  # not assigned any more
            return least
        return max(least, position)

    async def _out_of_range(self, consumer: Any, wanted: Mapping[TopicPartition, int]) -> Any:
        """The log does not begin where we read on: how far it was removed. It is asked for until the broker answers."""
        found: dict[TopicPartition, tuple[int, int, None]] = {}
        try:
            starts = await consumer.beginning_offsets(list(wanted))
        except KafkaError:
            return found
        for partition, offset in wanted.items():
            if starts[partition] > offset:
                consumer.seek(partition, starts[partition])
                self._bases[partition] = starts[partition]
            found[partition] = (offset, starts[partition], None)
        return found

    def _delivered(
        self, partition: TopicPartition, found: tuple[int, int, Sequence[Any] | None], read_ms: int, shown_ms: int
    ) -> Delivered | None:
        base, next_offset, records = found
        lanes = cast(Transport, self.transport).lanes
        topic, number = partition
        name = cast(Input, topic.removeprefix(lanes.worker.kafka.prefix))
        if records is None and next_offset <= base:
            lanes.doubt(number, Apart(cut_short(f"{topic}/{number}", base)))
            return None
        if not records:
            made = passed if records is not None or lanes.worker.role.loses_quietly else removed
            return made(topic, name, number, base, next_offset, read_ms)
        keys: list[bytes | None] = [record.key for record in records]
        values: list[bytes | None] = [record.value for record in records]
        headers = [record.headers for record in records]
        damaged = [record for record in records if type(record) is Unreadable]
        unread = {one.offset: Unread("invalid.batch", one.through, one.detail) for one in damaged}
        times_ms = [record.timestamp for record in records]
        kinds = (record.timestamp_type for record in records if record.timestamp_type is not None)
        if None in times_ms:  # an old client's, or a batch whose head cannot be believed: when it was read is known
            times_ms = [read_ms if time_ms is None else time_ms for time_ms in times_ms]
        fetched = Fetched(
            topic=topic,
            input=name,
            partition=number,
            offsets=[record.offset for record in records],
            timestamps_ms=times_ms,
            keys=keys,
            values=values,
            broker_time=next(kinds, None) == LOG_APPEND_TIME,
            read_ms=read_ms,
            headers=headers if any(headers) else None,
            unread=unread or None,
            shown_ms=shown_ms,
        )
        if fetched.broker_time:
            CLOCK.saw(times_ms[-1])
        size_bytes = sum(map(len, filter(None, keys))) + sum(map(len, filter(None, values)))
        if fetched.headers is not None:
            size_bytes += sum(len(name) + len(value or b"") for found in headers for name, value in found)
        return Delivered(fetched, base, next_offset, size_bytes)


class PassThrough(faust.Schema[Any, Any]):
    """A schema that decodes nothing: the agent gets the `Delivered` as it is."""

    def loads_key(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return None

    def loads_value(self, app: Any, message: Any, **kwargs: Any) -> Any:
        return message.value
