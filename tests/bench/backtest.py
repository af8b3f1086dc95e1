"""How long a backtest takes: a recording of n decisions is prepared, replayed, and held against itself.

    python -m tests.bench.backtest --n 1000000

The recording is what a gate would have written: decisions through the path in batches of 500 at rising readings of a
clock, their outputs in transactions' place plain batches (a reader cannot tell). Preparing it is not part of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from agents.backtest.documents import policies_of
from agents.backtest.estimate import reasons
from agents.backtest.read import Asked
from agents.backtest.run import Backtest, backtest
from streams.batch import OUTPUTS, Fetched
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy
from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.topics import apply

PREFIX = "bench."
PARTITIONS = 4
BATCH = 500
BATCHES_KEPT = 200  # that are under way to the broker at a time
POLICY = """\
workflow: {name}
version: {version}
freshness: {{budget: 10m, total: 10m}}
boundary:
  rules:
    - {{name: disputed, when: {{segment: {{equals: disputed}}}}, then: block}}
    - name: small-and-sure
      then: autonomous
      limits: {{value_minor_at_most: {limit}, currency: USD, confidence_at_least: 0.5}}
"""
WORKFLOWS = ("billing", "payout", "refund", "routing", "credit")


def write(folder: Path, version: int, limit: int) -> Path:
    """Policies of five workflows."""
    folder.mkdir()
    for name in WORKFLOWS:
        (folder / f"{name}.yaml").write_text(POLICY.format(name=name, version=version, limit=limit))
    return folder


def decisions(first: int, count: int, number: int, now_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """About 360 bytes each; of 20, 16 become commands, 2 reviews, 1 is stale, 1 is blocked."""
    for at in range(first, first + count):
        kind = at % 20
        value = 90_000 if kind in (0, 1) else 100 * (at % 50)
        age_ms = 700_000 if kind == 2 else 900
        segment = "disputed" if kind == 3 else "usual"
        entity = b"account-%d-%d" % (number, at % 1_000)
        yield (
            entity,
            b'{"id":"decision-%d-%08d","workflow":"%s","entity":"%s","action":{"type":"invoice.post","invoice":"inv-%08d"'
            b',"lines":[{"sku":"a-1","quantity":3,"price":12.5}]},"observed_at_ms":%d,"decided_at_ms":%d,"sent_at_ms":%d,'
            b'"confidence":0.93,"value_minor":%d,"currency":"USD","model":"rater@2026-11-01","reversible":true,'
            b'"segment":"%s"}'
            % (
                number,
                at,
                WORKFLOWS[at % 5].encode(),
                entity,
                at,
                now_ms - age_ms,
                now_ms - age_ms + 100,
                now_ms - age_ms + 110,
                value,
                segment.encode(),
            ),
        )


async def prepare(bootstrap: str, count: int, policies: Sequence[Policy], end_ms: int) -> None:
    """Writes inputs and outputs."""
    await apply(bootstrap, PREFIX, PARTITIONS)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_batch_size=1_000_000, linger_ms=0)
    await producer.start()
    try:
        for number in range(PARTITIONS):
            await _partition(producer, number, count // PARTITIONS, Snapshot(policies), end_ms)
            print(f"prepared partition {number}", file=sys.stderr, flush=True)
    finally:
        await producer.stop()


async def _partition(producer: Any, number: int, count: int, snapshot: Snapshot, end_ms: int) -> None:
    memory, sending = Memory(), list[Any]()
    for first in range(0, count, BATCH):
        now_ms = end_ms - (count - first) // BATCH * 10
        pairs = list(decisions(first, min(BATCH, count - first), number, now_ms))
        keys, values = [key for key, _ in pairs], [value for _, value in pairs]
        offsets = list(range(first, first + len(pairs)))
        times_ms = [now_ms - 20] * len(pairs)
        fetched = Fetched(
            f"{PREFIX}decisions", "decisions", number, offsets, times_ms, [*keys], [*values], True, now_ms
        )
        decided = decide([fetched], now_ms, snapshot, memory)
        memory.commit(decided.remembered, now_ms)
        sending.append(await _send(producer, "decisions", number, [(key, value, ()) for key, value in pairs]))
        for output in OUTPUTS:
            records = [(one.key, one.value, one.headers) for one in decided.records if one.output == output]
            if records:
                sending.append(await _send(producer, output, number, records))
        if len(sending) > BATCHES_KEPT:
            await asyncio.gather(*sending)
            sending.clear()
    await asyncio.gather(*sending)


async def _send(producer: Any, topic: str, number: int, records: Sequence[tuple[Any, bytes, Any]]) -> Any:
    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(key=key, value=value, timestamp=None, headers=list(headers)) is None:
            raise SystemExit("a batch of the bench does not fit into a batch of Kafka: make BATCH smaller")
    return await producer.send_batch(batch, PREFIX + topic, partition=number)


def measured(bootstrap: str, folder: Path, begin_ms: int, end_ms: int, processes: int | None) -> tuple[Backtest, float]:
    """A backtest as the command runs it, and how many seconds it took."""
    asked = Asked(bootstrap, PREFIX, begin_ms, end_ms, None, 3)
    candidate = policies_of(folder)
    began_s = time.monotonic()
    found = backtest(asked, candidate, None, lambda done, total: None, processes)
    assert reasons(found, candidate) == [], reasons(found, candidate)
    return found, time.monotonic() - began_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Broker(BrokerConfig()) as broker:
        present, other = write(Path(scratch) / "a", 1, 50_000), write(Path(scratch) / "b", 2, 2_000)
        end_ms = time.time_ns() // 1_000_000
        began_s = time.monotonic()
        asyncio.run(prepare(broker.bootstrap, given.n, policies_of(present), end_ms))
        print(f"prepared {given.n:,} decisions in {time.monotonic() - began_s:.1f} s", flush=True)
        begin_ms, until_ms = end_ms - 24 * 3_600_000, time.time_ns() // 1_000_000  # outputs came long after their clock
        for name, folder in (("the same policies", present), ("a tighter limit", other)):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            found, took_s = measured(broker.bootstrap, folder, begin_ms, until_ms, given.processes)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            tally = found.tally
            assert tally.decisions == given.n // PARTITIONS * PARTITIONS, tally.decisions
            print(
                f"{name}: {tally.decisions:,} decisions in {took_s:.1f} s ({tally.decisions / took_s:,.0f}/s), "
                f"CPU of its processes {cpu_s:.1f} s, largest {after.ru_maxrss / 1024:,.0f} MB, "
                f"changed {tally.changed:,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
