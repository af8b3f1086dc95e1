"""Changing what is in force, and waiting until everybody who lives has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.heartbeat import Heartbeat
from streams.errors import BrokerUnreachable
from streams.foreign import Reader, Unreadable
from streams.governing import Write
from streams.rulebook import Edition
from streams.runtime.clock import clock_ms
from streams.runtime.lookup import reader
from streams.runtime.policies_topic import Written, change
from streams.runtime.settings import Kafka
from streams.runtime.tasks import closed

CONNECT_S = 8.0
LOOK_BACK_MS = 60_000  # further back nobody lives who beats every few seconds
SILENT_TIMES = 3  # so many beats missed, and it does not live any more
SKEW_MS = 2_000  # of our clock against the broker's
_beat = Reader(Heartbeat)
_ERRORS = (KafkaError, OSError, TimeoutError, AssertionError)


@dataclass(slots=True)
class Workers:
    """Who lives, by what they say of themselves: the last heartbeat of each and the broker's time of it."""

    beats: dict[str, tuple[Heartbeat, int]] = field(default_factory=dict)

    def take(self, value: bytes | None, at_ms: int) -> None:
        """One record of the topic; what is no heartbeat says nothing."""
        beat = _beat(value)
        if isinstance(beat, Unreadable):
            return
        self.beats[beat.worker] = (beat, at_ms)

    def living(self, now_ms: int) -> list[Heartbeat]:
        """Those that have spoken lately and not said that they end, by name."""
        found = [
            beat
            for beat, at_ms in self.beats.values()
            if not beat.ended and now_ms - at_ms < SILENT_TIMES * beat.every_ms + SKEW_MS
        ]
        return sorted(found, key=lambda beat: beat.worker)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who has a change in force, who has not (yet), and how long it took until the last had, its writing included."""

    having: Sequence[Heartbeat]
    lacking: Sequence[Heartbeat]
    seconds: float

    def of_roles(self) -> str:
        """`2 gate, 1 reviews`."""
        roles: dict[str, int] = {}
        for beat in self.having:
            roles[beat.role] = roles.get(beat.role, 0) + 1
        return ", ".join(f"{count} {role}" for role, count in sorted(roles.items())) or "nobody"


class Waiting:
    """Reads heartbeats from before a change on, so that its acknowledgements are heard as they come.

    Heartbeats are in no transaction; those of others on the topic are not waited for.

    async with Waiting(kafka) as waiting: ... change ...; await waiting.until(behind, timeout_s)
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._partition = TopicPartition(kafka.topic("workers"), 0)
        self._consumer: AIOKafkaConsumer = reader(kafka, "earliest", "read_uncommitted")
        self._opened_s = 0.0
        self.workers = Workers()

    async def __aenter__(self) -> Waiting:
        try:
            await asyncio.wait_for(self._start(), CONNECT_S)
        except _ERRORS as error:
            await self.__aexit__()
            raise BrokerUnreachable(
                f"no Kafka answers for {self._partition.topic} at {self._kafka.bootstrap} ({type(error).__name__}): "
                "start one with `sluicegate broker`, or say where yours is with --bootstrap or SLUICEGATE_BOOTSTRAP"
            ) from error
        self._opened_s = time.monotonic()
        return self

    async def _start(self) -> None:
        await self._consumer.start()
        await self._consumer._client._wait_on_metadata(self._partition.topic)
        self._consumer.assign([self._partition])
        since = (await self._consumer.offsets_for_times({self._partition: clock_ms() - LOOK_BACK_MS}))[self._partition]
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        self._consumer.seek(self._partition, end if since is None else since.offset)
        while await self._consumer.position(self._partition) < end:
            await self.read(100)

    async def __aexit__(self, *ignored: object) -> None:
        await closed(self._consumer.stop(), 2.0)

    async def read(self, timeout_ms: int) -> None:
        """Takes what comes within the time."""
        for record in (await self._consumer.getmany(self._partition, timeout_ms=timeout_ms)).get(self._partition, []):
            self.workers.take(record.value, record.timestamp)

    async def until(self, behind: int, timeout_s: float) -> Acknowledged:
        """Returns when all who live have everything before offset `behind` of `policies` in force, or after the time.

        Raises BrokerUnreachable.
        """
        started_s = time.monotonic()
        while True:
            living = self.workers.living(clock_ms())
            lacking = [beat for beat in living if beat.policies_offset < behind]
            waited_s = time.monotonic() - started_s
            if not lacking or waited_s >= timeout_s:
                having = [beat for beat in living if beat.policies_offset >= behind]
                return Acknowledged(having, lacking, time.monotonic() - self._opened_s)
            try:
                await self.read(min(100, int((timeout_s - waited_s) * 1000) + 1))
            except _ERRORS as error:
                raise BrokerUnreachable(f"the Kafka at {self._kafka.bootstrap} does not answer any more") from error


async def put_in_force(
    kafka: Kafka, make: Callable[[Edition], Sequence[Write]], timeout_s: float
) -> tuple[Written, Acknowledged]:
    """Writes what `make` wants, and waits for those who live. Raises what `make` and `change` raise."""
    async with Waiting(kafka) as waiting:
        _, written = await change(kafka, make)
        return written, await waiting.until(written.behind, timeout_s)


def not_using(found: Acknowledged, versions: Mapping[str, int]) -> list[str]:
    """A sentence for each worker that has read these versions and does not use them."""
    told = []
    for beat in found.having:
        for workflow, version in versions.items():
            if beat.role != "executor" and beat.policies.get(workflow) != version:
                why = "; ".join(beat.troubles) or "it does not say why"
                told.append(f"{beat.worker} goes on with {workflow}@{beat.policies.get(workflow, 'none')}: {why}")
    return told
