"""A producer that is fast enough to overload a gate, a process of its own: a rate for a time, then another.

python -m tests.bench.flood BOOTSTRAP TOPIC PARTITIONS SEED BUDGET_MS PER_S SECONDS [PER_S SECONDS ...]

Decisions are up to 0.3 of the budget old when they are sent, a third of them expires earlier, and values are
lognormal. Batches are built by hand, a handful of them every 20 ms.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

ENTITIES = 5_000
TICK_S = 0.02
BATCH_BYTES = 262_144


class Flood:
    """Sends to one topic."""

    def __init__(self, producer: Any, topic: str, partitions: int, seed: int, budget_ms: int) -> None:
        self._producer, self._topic, self._budget_ms = producer, topic, budget_ms
        self._rnd = random.Random(seed)
        everywhere, partition_of = list(range(partitions)), DefaultPartitioner()
        keys = [b"acct-%d" % number for number in range(ENTITIES)]
        self._entities = [(key, partition_of(key, everywhere, everywhere)) for key in keys]
        self._acknowledged: list[asyncio.Future[Any]] = []
        self.sent, self.late_s_max = 0, 0.0

    async def phase(self, per_s: float, seconds: float) -> None:
        """Sends at this rate for so long."""
        began_s, already = time.monotonic(), self.sent
        while (passed_s := time.monotonic() - began_s) < seconds:
            due = int(passed_s * per_s) - (self.sent - already)
            self.late_s_max = max(self.late_s_max, due / per_s - TICK_S)
            await self._send(due)
            await asyncio.sleep(TICK_S)
        await self._send(int(seconds * per_s) - (self.sent - already))

    async def _send(self, count: int) -> None:
        now_ms = time.time_ns() // 1_000_000
        batches: dict[int, Any] = {}
        for _ in range(count):
            key, partition = self._rnd.choice(self._entities)
            if partition not in batches:
                batches[partition] = self._producer.create_batch()
            batches[partition].append(key=key, value=self._decision(key, now_ms), timestamp=None)
            self.sent += 1
        for partition, batch in batches.items():
            self._acknowledged.append(await self._producer.send_batch(batch, self._topic, partition=partition))

    def _decision(self, key: bytes, now_ms: int) -> bytes:
        rnd, budget_ms = self._rnd, self._budget_ms
        observed_ms = now_ms - int(rnd.random() * 0.3 * budget_ms)
        expires = b""
        if rnd.random() < 1 / 3:
            expires = b',"expires_at_ms":%d' % (observed_ms + int(rnd.uniform(0.5, 1) * budget_ms))
        return (
            b'{"id":"f-%d","workflow":"payout","entity":"%b","action":{"type":"pay","to":"iban-%d"},'
            b'"observed_at_ms":%d,"value_minor":%d,"currency":"EUR","confidence":0.9%b}'
        ) % (self.sent, key, self.sent, observed_ms, 1 + int(rnd.lognormvariate(8, 1)), expires)

    async def flush(self) -> None:
        """Returns when the broker has all of it."""
        await asyncio.gather(*self._acknowledged)


async def send(bootstrap: str, topic: str, partitions: int, seed: int, budget_ms: int, phases: list[float]) -> Flood:
    """Sends all phases, one after the other."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=BATCH_BYTES, acks="all")
    await producer.start()
    try:
        flood = Flood(producer, topic, partitions, seed, budget_ms)
        await producer.partitions_for(topic)
        for per_s, seconds in zip(phases[::2], phases[1::2], strict=True):
            await flood.phase(per_s, seconds)
        await flood.flush()
    finally:
        await producer.stop()
    return flood


def main(bootstrap: str, topic: str, *numbers: str) -> None:
    partitions, seed, budget_ms = map(int, numbers[:3])
    flood = asyncio.run(send(bootstrap, topic, partitions, seed, budget_ms, [float(one) for one in numbers[3:]]))
    print(json.dumps({"sent": flood.sent, "late_s_max": round(flood.late_s_max, 3)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
