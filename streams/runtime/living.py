"""Who lives, by the heartbeats on `workers`; and whether a worker of another group does a role already."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.heartbeat import Heartbeat
from streams.foreign import Reader, Unreadable
from streams.runtime.lookup import reader
from streams.runtime.settings import REQUEST_S, Kafka
from streams.runtime.tasks import closed
from streams.runtime.transactions import Failed

NEWEST_RECORDS = 200  # among which there is one that is no mark of a transaction
LOOK_BACK_MS = 60_000  # further back nobody lives who beats every few seconds
SILENT_TIMES = 3  # so many beats missed, and it does not live any more
EVERY_MS_MAX = LOOK_BACK_MS // SILENT_TIMES  # who says that he beats more rarely is not waited for
SKEW_MS = 2_000  # a beat may be so late
READ_MS = 100
ERRORS = (KafkaError, OSError, TimeoutError, AssertionError)
_beat = Reader(Heartbeat)


@dataclass(slots=True)
class Workers:
    """Who lives, by what they say of themselves: the last heartbeat of each and the broker's time of it."""

    beats: dict[str, tuple[Heartbeat, int]] = field(default_factory=dict)

    def take(self, value: bytes | None, at_ms: int) -> None:
        """One record of the topic; what is no heartbeat says nothing."""
        beat = _beat(value)
        if isinstance(beat, Unreadable):
            return
        if beat.every_ms <= EVERY_MS_MAX:
            self.beats[beat.worker] = (beat, at_ms)

    def living(self, now_ms: int) -> list[Heartbeat]:
        """Those that have spoken lately and not said that they end, by name."""
        found = [
            beat
            for beat, at_ms in self.beats.values()
            if not beat.ended and now_ms - at_ms < SILENT_TIMES * beat.every_ms + SKEW_MS
        ]
        return sorted(found, key=lambda beat: beat.worker)

    def of_other_groups(self, role: str, group: str) -> list[tuple[Heartbeat, int]]:
        """Those that do this role for another group and have not said that they end."""
        return [
            (beat, at_ms)
            for beat, at_ms in self.beats.values()
            if beat.role == role and beat.group not in (None, group) and not beat.ended
        ]


class Listening:
    """Reads heartbeats, from `LOOK_BACK_MS` ago on; those of others on the topic are not waited for.

    Heartbeats are in no transaction, so they are read uncommitted.
    """

    def __init__(self, kafka: Kafka) -> None:
        self.partition = TopicPartition(kafka.topic("workers"), 0)
        self._consumer: AIOKafkaConsumer = reader(kafka, "earliest", "read_uncommitted")
        self.workers = Workers()
        self._newest_ms, self._heard_s = 0, 0.0

    async def start(self) -> None:
        """Returns when what was there has been read. Raises one of ERRORS."""
        consumer: Any = self._consumer
        await consumer.start()
        await consumer._client._wait_on_metadata(self.partition.topic)
        consumer.assign([self.partition])
        begins = (await consumer.beginning_offsets([self.partition]))[self.partition]
        end = (await consumer.end_offsets([self.partition]))[self.partition]
        # how long ago that is says the broker alone: by the newest of its own times
        await self._read_from(last := max(begins, end - NEWEST_RECORDS), end)
        if self._newest_ms:
            found = await consumer.offsets_for_times({self.partition: max(0, self._newest_ms - LOOK_BACK_MS)})
            if (since := found[self.partition]) is not None and since.offset < last:
                await self._read_from(since.offset, end)

    async def _read_from(self, offset: int, end: int) -> None:
        self._consumer.seek(self.partition, offset)
        while await self._consumer.position(self.partition) < end:
            await self.read(READ_MS)

    async def read(self, timeout_ms: int) -> None:
        """Takes what comes within the time."""
        for record in (await self._consumer.getmany(self.partition, timeout_ms=timeout_ms)).get(self.partition, []):
            self.workers.take(record.value, record.timestamp)
            self.hears(record.timestamp)

    def hears(self, broker_ms: int) -> None:
        """It was this late, by the broker's time of something it has just written."""
        if broker_ms > self.now_ms():
            self._newest_ms, self._heard_s = broker_ms, time.monotonic()

    def now_ms(self) -> int:
        """The broker's time, as far as it was heard: what this machine's clock says does not matter."""
        return self._newest_ms + int((time.monotonic() - self._heard_s) * 1000) if self._newest_ms else 0

    async def stop(self) -> None:
        await closed(self._consumer.stop(), 2.0)


async def other_group(kafka: Kafka, role: str, group: str) -> str | None:
    """A sentence for whoever would do a role that a worker of another group does; None where there is none.

    By its next heartbeat, whatever the clocks say: who was killed a moment ago beats no more, and is waited for as long
    as it takes to know. Raises Failed.
    """
    listening = Listening(kafka)
    try:
        await asyncio.wait_for(listening.start(), REQUEST_S)
        before = {beat.worker: at_ms for beat, at_ms in listening.workers.of_other_groups(role, group)}
        every_ms = max((beat.every_ms for beat, _ in listening.workers.of_other_groups(role, group)), default=0)
        until_s = time.monotonic() + SILENT_TIMES * every_ms / 1000
        while listening.workers.of_other_groups(role, group) and time.monotonic() < until_s:
            await listening.read(READ_MS)
            for beat, at_ms in listening.workers.of_other_groups(role, group):
                if before.get(beat.worker) != at_ms:
                    return (
                        f"{beat.worker} does the role {role} on {kafka.prefix}* for the group {beat.group}, and this "
                        f"one is of {group}: all workers of a role belong into one group. Start this one with --group "
                        f"{beat.group}, or stop the other first; a group of another name goes on where it ended"
                    )
    except ERRORS as error:
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        await listening.stop()
    return None
