"""A million entities in the context view: memory for each, and the time to rebuild it from a real Kafka.

`python -m tests.bench.context [--entities 1000000] [--partitions 4] [--no-kafka]`

Memory is what the process grew by (resident set), in a process of its own for each kind of view. The rebuild is one
worker's: all partitions by one `World`, from its start until each is complete, and while another task measures how long
it does not get to run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

from streams.context import ContextView
from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.records import Raw, install
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from streams.runtime.world import Needs, World
from tests.kafka.harness import now_ms, producer

FIELDS = frozenset({"rate_card", "status"})
KINDS: dict[str, tuple[frozenset[str], bool]] = {
    "versions": (frozenset(), False),
    "versions, 2 fields watched": (FIELDS, False),
    "states": (frozenset(), True),
}
PREFIX = "bench."


def record(number: int) -> tuple[bytes, bytes]:
    """One of about 160 bytes."""
    entity = f"acct-{number:09}"
    state = {
        "rate_card": "2019-02",
        "status": "open",
        "limit_minor": number % 90_000,
        "country": "de",
        "tier": number % 5,
    }
    context = {"entity": entity, "version": 41 + number % 7, "at_ms": 1_764_000_000_000 + number, "state": state}
    return entity.encode(), json.dumps(context, separators=(",", ":")).encode()


def resident_bytes() -> int:
    """What the process holds now, on Linux; the most that it ever held elsewhere."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(kind: str, entities: int) -> None:
    """Fills a view and prints what it took."""
    fields, keep_state = KINDS[kind]
    view = ContextView(fields, keep_state, entities_max=entities)
    gc.collect()
    before, spent_s = resident_bytes(), 0.0
    for first in range(0, entities, 10_000):
        made = [record(number) for number in range(first, min(first + 10_000, entities))]
        start = time.process_time()
        for key, value in made:
            view.apply(key, value)
        spent_s += time.process_time() - start
    del made
    gc.collect()
    held = resident_bytes() - before
    start = time.process_time()
    for number in range(100_000):
        view.version(f"acct-{number:09}")
    looked_s = time.process_time() - start
    assert len(view) == entities, "the view was full"
    print(
        f"{kind:<28}{held / entities:>8.0f} bytes an entity, {held / 1e6:,.0f} MB in all; to take one in "
        f"{spent_s / entities * 1e6:.2f} us, to look one up {looked_s / 100_000 * 1e6:.2f} us",
        flush=True,
    )


async def fill(bootstrap: str, entities: int, partitions: int) -> None:
    """Writes one record for each entity, dealt out to the partitions in turn."""
    async with producer(bootstrap, linger_ms=20, max_batch_size=256 * 1024) as client:
        for number in range(entities):
            key, value = record(number)
            await client.send(PREFIX + "context", value, key=key, partition=number % partitions)
        await client.flush()


async def rebuild(bootstrap: str, kind: str, entities: int, partitions: int) -> None:
    """One worker's rebuild; prints how long it took and the longest that it held the event loop."""
    fields, keep_state = KINDS[kind]
    world = World(Kafka(bootstrap, PREFIX), Needs(fields, keep_state=keep_state), now_ms)
    held_ms = [0.0]

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.001)
            held_ms.append((time.perf_counter() - start) * 1000 - 1)

    tasks = [asyncio.create_task(world.run()), asyncio.create_task(watch())]
    start, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(world.complete(number) for number in range(partitions)))
    took_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_s
    assert sum(len(world.contexts(number)) for number in range(partitions)) == entities
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    held_ms.sort()
    print(
        f"{kind:<28}{took_s:>8.1f} s to rebuild ({entities / took_s:,.0f} a second, {cpu_s:.1f} s of CPU); others "
        f"waited {held_ms[len(held_ms) * 99 // 100]:.0f} ms at p99, {held_ms[-1]:.0f} ms at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--no-kafka", action="store_true", help="memory alone")
    given = parser.parse_args()
    print(f"{given.entities:,} entities, records of {sum(map(len, record(1)))} bytes", flush=True)
    spawn = multiprocessing.get_context("spawn")
    for kind in KINDS:
        child = spawn.Process(target=measure, args=(kind, given.entities))
        child.start()
        child.join()
        if child.exitcode:
            raise SystemExit(1)
    if given.no_kafka:
        return
    install(Raw)  # as a worker does
    with Broker(BrokerConfig()) as broker:
        asyncio.run(apply(broker.bootstrap, PREFIX, given.partitions))
        asyncio.run(fill(broker.bootstrap, given.entities, given.partitions))
        for kind in KINDS:
            asyncio.run(rebuild(broker.bootstrap, kind, given.entities, given.partitions))


if __name__ == "__main__":
    main()
