"""The consumer's side: commands of the partitions that are ours, and the offsets of those whose receipt is there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from sluicegate_kit import careful
from sluicegate_kit import kafka as broker
from sluicegate_kit.errors import BrokerUnreachable
from sluicegate_kit.losses import Lost, OnLost, how_far
from sluicegate_kit.progress import Progress
from sluicegate_kit.reading import Unreadable
from sluicegate_kit.records import Command, read_command

log = logging.getLogger("sluicegate_kit")

COMMIT_S = 0.2  # what a crash makes another instance look up again in the store
POLL_MS = 500
RETRY_S = 0.5
REQUEST_S = 20.0  # for a question to the broker beside the fetches; it is asked again
# the group's heartbeats say that we live; actions that take long are bounded by their own limit
POLL_INTERVAL_MS = 2**31 - 1
# a receipt repeats its command's key, and some of its headers; the contract's are shorter than this
KEY_BYTES_MAX, HEADER_BYTES_MAX = 4 * 200, 8192
CARRIED_HEADERS = ("traceparent", "tracestate")


class Delivery:
    """One command as it came. `loose` are the handlers that may be cancelled, because they have not begun."""

    def __init__(self, progress: Progress, loose: set[asyncio.Task[None]], record: Any, command: Command) -> None:
        self.command, self.partition = command, int(record.partition)
        is_short = record.key is None or len(record.key) <= KEY_BYTES_MAX
        self.key: bytes | None = record.key if is_short else command.entity.encode()
        self.headers: Sequence[tuple[str, bytes]] = [
            (name, value)
            for name, value in record.headers
            if name in CARRIED_HEADERS and value is not None and len(value) <= HEADER_BYTES_MAX
        ]
        self._progress, self._offset, self._loose = progress, int(record.offset), loose
        self._task: asyncio.Task[None] | None = None

    def handled_by(self, task: asyncio.Task[None]) -> None:
        """It may be cancelled until it says `hold(True)`."""
        self._task = task
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)

    def hold(self, held: bool) -> None:
        if self._task is not None:
            (self._loose.discard if held else self._loose.add)(self._task)

    def done(self) -> None:
        """Its receipt is acknowledged. If its partition was lost meanwhile, nobody looks at this any more."""
        self._progress.done(self._offset)


class Deliveries(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Reads committed commands in a group.

    What cannot be read is counted in `counts`, logged, and passed by. What the broker removed before it was read, and
    batches that cannot be read, are told to `on_lost` as well: nobody acts on what stood there.
    """

    def __init__(self, topic: str, workflows: Collection[str], counts: Counter[str], on_lost: OnLost) -> None:
        self._topic, self._workflows, self._counts, self._on_lost = topic, workflows, counts, on_lost
        self._ours: dict[TopicPartition, Progress] = {}
        self._loose: set[asyncio.Task[None]] = set()
        self._consumer: AIOKafkaConsumer | None = None
        self._group = ""

    async def start(self, bootstrap: str, group: str, session_ms: int, options: Mapping[str, Any]) -> None:
        """Joins the group. Raises BrokerUnreachable or KitError."""
        self._group = group

        def make() -> AIOKafkaConsumer:
            consumer = careful.consumer(
                group_id=group,
                isolation_level="read_committed",  # without it commands that were taken back would be acted on
                enable_auto_commit=False,
                auto_offset_reset="none",  # where to go on when an offset is not there is ours to decide, and to tell
                session_timeout_ms=session_ms,
                heartbeat_interval_ms=max(session_ms // 4, 50),
                max_poll_interval_ms=POLL_INTERVAL_MS,
                **broker.options_of(AIOKafkaConsumer, options),
            )
            consumer.subscribe([self._topic], listener=self)
            return consumer

        self._consumer = await broker.start(make, bootstrap)

    async def stop(self) -> None:
        if self._consumer is not None:
            await broker.within(self._consumer.stop(), REQUEST_S)

    async def fetch(self, count_max: int) -> list[Delivery]:
        """What there is, at most so many. Raises BrokerUnreachable for what a retry does not mend."""
        assert self._consumer is not None
        try:
            fetched = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=count_max)
        except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
            await self._place(self._consumer, error)
            return []
        except KafkaError as error:
            if not error.retriable:
                raise BrokerUnreachable(f"{self._topic} cannot be read: {type(error).__name__}: {error}") from error
            log.warning("%s cannot be read now, trying again: %s", self._topic, type(error).__name__)
            await asyncio.sleep(RETRY_S)
            return []
        found = []
        for place, records in fetched.items():
            if (progress := self._ours.get(place)) is None:
                continue  # taken away while it was fetched: whoever has it now gets these
            for record in records:
                if type(record) is Unreadable:
                    self._lost(Lost(*record[:4], record.detail), progress)
                    continue
                progress.take(record.offset)
                if (command := self._command(record)) is None:
                    progress.done(record.offset)
                else:
                    found.append(Delivery(progress, self._loose, record, command))
        return found

    def _command(self, record: Any) -> Command | None:
        try:
            command = read_command(record.value)
        except ValueError as error:
            self._counts["poison"] += 1
            digest = hashlib.sha256(record.value or b"").hexdigest()
            place = f"{record.topic}/{record.partition}/{record.offset}"
            log.error("%s is no command and is passed by: %s (sha256 %s)", place, error, digest)
            return None
        if self._workflows and command.workflow not in self._workflows:
            self._counts["skipped"] += 1
            return None
        return command

    async def _place(self, consumer: AIOKafkaConsumer, error: KafkaError) -> None:
        """Goes on where the group's offset is not there: it never had one, or the broker has removed what was there."""
        try:
            async with asyncio.timeout(REQUEST_S):
                if isinstance(error, NoOffsetForPartitionError):
                    (place,) = error.args
                    await consumer.seek_to_beginning(place)
                    return
                ((place, offset),) = error.args[0].items()
                start = int((await consumer.beginning_offsets([place]))[place])
                end = int((await consumer.end_offsets([place]))[place])
            lost = how_far(place.topic, place.partition, self._group, offset, start, end)
            if lost is not None and (progress := self._ours.get(place)) is not None:
                self._lost(lost, progress)
            consumer.seek(place, start if lost is not None else offset)
        except (IllegalStateError, KafkaError, TimeoutError) as failed:  # also if it was taken away meanwhile
            log.warning("%s cannot be read now, trying again: %s", self._topic, type(failed).__name__)
            await asyncio.sleep(RETRY_S)

    def _lost(self, lost: Lost, progress: Progress) -> None:
        progress.take(lost.through)  # so that it is committed over, and told once
        progress.done(lost.through)
        self._counts["lost"] += lost.count
        log.error("%s", lost)
        self._on_lost(lost)

    def drop_waiting(self) -> None:
        """What has not begun is left for whoever has its partition next."""
        for task in list(self._loose):
            task.cancel()

    async def keep_committing(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_S)
            await self.commit()

    async def commit(self) -> None:
        """Never over a command whose receipt is not acknowledged. One that fails is made up for by the next."""
        ours = dict(self._ours)
        offsets = {place: at for place, progress in ours.items() if (at := progress.to_commit()) is not None}
        if not offsets or self._consumer is None:
            return
        try:
            await asyncio.wait_for(self._consumer.commit(offsets), REQUEST_S)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.info("offsets not committed: %s", type(error).__name__)
            return
        for place, at in offsets.items():
            ours[place].committed(at)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self.commit()
        self.drop_waiting()
        self._ours.clear()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._ours = {place: Progress() for place in assigned}
        log.info("partitions: %s", sorted(place.partition for place in assigned))
