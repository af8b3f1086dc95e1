"""The demo's producer, at a steady rate, and in the same process a reader of what gate and executor made of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from agents.cli.client import partitions_of, started
from agents.demo.tally import KINDS, Tally
from agents.demo.traffic import Record, Traffic
from agents.demo.watch import Moment, Watch

TICK_S = 0.02
FIRST_ANSWER_S = 60  # a worker starts within a few seconds; on a busy machine it takes longer
DRAIN_S = 20  # after the last record was sent
IN_FLIGHT_MAX = 5_000


@dataclass(frozen=True, slots=True)
class Pace:
    rate_per_s: int
    seconds: int

    @property
    def count(self) -> int:
        return self.rate_per_s * self.seconds


@dataclass(slots=True)
class Replay:
    """`check` raises when a child has died; `executes` says whether an executor answers commands with receipts."""

    bootstrap: str
    prefix: str
    pace: Pace
    traffic: Traffic
    tally: Tally
    check: Callable[[], None]
    watch: Watch
    executes: bool
    sent: int = 0
    _begun: float | None = None

    async def run(self) -> bool:
        """Whether every record sent was answered in the time allowed, and every command."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        async with self._reading(), started(producer, self.bootstrap):
            records = self.traffic.records(now_ms)
            begun = time.monotonic()
            await self._send(producer, records, 1)
            if not await self._until(self._is_decided, FIRST_ANSWER_S, "waiting for the gate's first answer"):
                return False
            waited_s = time.monotonic() - begun
            self.watch.say(f"the gate answers: its first decision came {waited_s:.1f} s after it was sent")
            await self._send_at_pace(producer, records)
            answered = await self._until(self._is_decided, DRAIN_S, "all is sent, the last answers come")
            return answered and await self._until(
                self._is_acted_on, DRAIN_S, "the executor works off the last commands"
            )

    def _is_decided(self) -> bool:
        return self.tally.answered >= self.sent

    def _is_acted_on(self) -> bool:
        return not self.executes or self.tally.receipts.awaited == 0

    async def _send_at_pace(self, producer: AIOKafkaProducer, records: Iterator[Record]) -> None:
        self._begun = time.monotonic()
        while self.sent < self.pace.count:
            elapsed_s = time.monotonic() - self._begun
            due = min(self.pace.count, 1 + int(elapsed_s * self.pace.rate_per_s))
            await self._send(producer, records, due - self.sent)
            self._look(self.traffic.scene(self.sent))
            await asyncio.sleep(TICK_S)
        await producer.flush()

    def _look(self, scene: str) -> None:
        self.check()
        second = 0 if self._begun is None else int(time.monotonic() - self._begun)
        self.watch.look(Moment(second, self.sent, self.pace.count, scene), self.tally)

    async def _send(self, producer: AIOKafkaProducer, records: Iterator[Record], count: int) -> None:
        topic = f"{self.prefix}decisions"
        acknowledgements = []
        for _ in range(count):
            record = next(records)
            acknowledgements.append(await producer.send(topic, record.value, key=record.key))
            self.sent += 1
            if len(acknowledgements) == IN_FLIGHT_MAX:
                await asyncio.gather(*acknowledgements)
                acknowledgements.clear()
        await asyncio.gather(*acknowledgements)

    async def _until(self, holds: Callable[[], bool], wait_s: float, scene: str) -> bool:
        give_up_at = time.monotonic() + wait_s
        while not holds():
            self._look(scene)
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(TICK_S)
        return True

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        kinds = {f"{self.prefix}{kind}": kind for kind in (*KINDS, "receipts")}
        partitions = [
            TopicPartition(topic, number) for topic in kinds for number in await partitions_of(self.bootstrap, topic)
        ]
        async with started(consumer, self.bootstrap):
            consumer.assign(partitions)
            reader = asyncio.create_task(self._read(consumer, kinds))
            try:
                yield
            finally:
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader

    async def _read(self, consumer: AIOKafkaConsumer, kinds: dict[str, str]) -> None:
        while True:
            for partition, found in (await consumer.getmany(timeout_ms=100)).items():
                for record in found:
                    self.tally.add(kinds[partition.topic], record.value)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
