"""The demo's two ends in one process: a producer at a steady rate, and a reader of what the gate made of it."""

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
    """`check` raises when the worker has died; `say` takes a line for the person who watches."""

    bootstrap: str
    prefix: str
    pace: Pace
    traffic: Traffic
    tally: Tally
    check: Callable[[], None]
    say: Callable[[str], None]
    sent: int = 0

    async def run(self) -> bool:
        """Whether every record sent was answered in the time allowed."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", enable_idempotence=True)
        async with self._reading(), started(producer, self.bootstrap):
            records = self.traffic.records(now_ms)
            begun = time.monotonic()
            await self._send(producer, records, 1)
            if not await self._answered_within(FIRST_ANSWER_S):
                return False
            self.say(f"the gate answers: its first decision came {time.monotonic() - begun:.1f} s after it was sent")
            await self._send_at_pace(producer, records)
            return await self._answered_within(DRAIN_S)

    async def _send_at_pace(self, producer: AIOKafkaProducer, records: Iterator[Record]) -> None:
        begun = time.monotonic()
        lines = 0
        while self.sent < self.pace.count:
            elapsed_s = time.monotonic() - begun
            due = min(self.pace.count, 1 + int(elapsed_s * self.pace.rate_per_s))
            await self._send(producer, records, due - self.sent)
            if elapsed_s >= lines + 1:
                lines = int(elapsed_s)
                self.check()
                self.say(f"{lines:4d} s  {self._line()}  {self.traffic.scene(self.sent)}")
            await asyncio.sleep(TICK_S)
        await producer.flush()

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

    async def _answered_within(self, wait_s: float) -> bool:
        give_up_at = time.monotonic() + wait_s
        while self.tally.answered < self.sent:
            self.check()
            if time.monotonic() > give_up_at:
                return False
            await asyncio.sleep(TICK_S)
        return True

    def _line(self) -> str:
        kinds = "  ".join(f"{kind} {self.tally.kinds[kind]:5d}" for kind in KINDS)
        families = ", ".join(f"{family} {count}" for family, count in sorted(self.tally.families.items()))
        return f"sent {self.sent:5d}  {kinds}" + (f" ({families})" if families else "")

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        kinds = {f"{self.prefix}{kind}": kind for kind in KINDS}
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
