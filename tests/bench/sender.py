"""The sender of the latency run, a process of its own: one decision at a time, each at its time, stamped as it goes.

python -m tests.bench.sender BOOTSTRAP TOPIC COUNT MADE_MS SEED FIRST RATE_PER_S
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

from aiokafka import AIOKafkaProducer

from tests.bench.job import Load, make


async def send(bootstrap: str, topic: str, load: Load, first: int, rate_per_s: int) -> float:
    """Sends decision number `first` and all behind it; returns by how many ms one was late at most."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=0)
    await producer.start()
    acknowledged, late_s_max = [], 0.0
    try:
        await producer.partitions_for(topic)
        began_s = time.monotonic()
        for number in range(first, len(load.values)):
            due_s = began_s + (number - first) / rate_per_s
            while (left_s := due_s - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
            late_s_max = max(late_s_max, -left_s)
            value = load.stamped(number, time.time_ns() // 1000)
            acknowledged.append(await producer.send(topic, value, key=load.keys[number]))
        await asyncio.gather(*acknowledged)
    finally:
        await producer.stop()
    return late_s_max * 1000


def main(bootstrap: str, topic: str, *numbers: str) -> None:
    count, made_ms, seed, first, rate_per_s = map(int, numbers)
    load = make(count, made_ms, seed)
    gc.freeze()
    print(json.dumps({"late_ms_max": asyncio.run(send(bootstrap, topic, load, first, rate_per_s))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
