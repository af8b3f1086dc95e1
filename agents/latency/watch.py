"""Reads the outputs and receipts of the last window and what comes after, without a group, and tells what they say."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from agents.audit.inputs import Place
from agents.audit.read import Reach, admin, consumer, offsets, partition_counts, within
from agents.latency.lag import INPUTS, Lag, lag
from agents.latency.recent import OUTPUTS, Recent, Told
from streams.errors import BrokerUnreachable, ConfigurationError

POLL_MS = 200
BATCH_RECORDS = 2_000
CATCH_UP_S = 60  # what cannot be read by then waits for an open transaction: what there is, is shown


@dataclass(frozen=True)
class Watched:
    """Which topics, whose lag, how long a window, how often it is told."""

    bootstrap: str
    prefix: str
    group: str
    window_ms: int
    every_s: float = 1.0


@dataclass(frozen=True)
class Snapshot:
    """`at_ms` is this machine's clock. `whole`: the window has been read to where it ended when it was opened."""

    at_ms: int
    window_ms: int
    group: str
    workflows: list[Told]
    lag: Lag
    whole: bool


async def watch(watched: Watched) -> AsyncGenerator[Snapshot, None]:
    """Snapshots without an end: the first once the window is read, then one every `every_s` seconds.

    Raises ConfigurationError where there are no such topics, BrokerUnreachable.
    """
    reach = Reach(watched.bootstrap)
    async with (
        admin(reach) as asker,
        consumer(reach, "read_committed") as client,
        consumer(reach, "read_committed") as looker,
    ):
        counts = await partition_counts(
            asker, reach, [watched.prefix + kind for kind in (*INPUTS, *OUTPUTS, "receipts")]
        )
        if f"{watched.prefix}commands" not in counts:
            raise ConfigurationError(
                f"there is no topic {watched.prefix}commands at {watched.bootstrap}: name the right prefix with "
                "--prefix, or create the topics with `sluicegate topics apply`"
            )
        inputs, outputs = (_places(watched.prefix, kinds, counts) for kinds in (INPUTS, (*OUTPUTS, "receipts")))
        waiting = await _opened(client, reach, outputs, now_ms() - watched.window_ms)
        recent, told_s, whole = Recent(watched.window_ms), -watched.every_s, False
        until_s = time.monotonic() + CATCH_UP_S
        while True:
            await _take(client, watched, recent)
            whole = whole or await _passed(client, waiting) or time.monotonic() > until_s
            if whole and time.monotonic() - told_s >= watched.every_s:
                told_s = time.monotonic()
                found = await lag(asker, looker, reach, watched.group, inputs, now_ms())
                at_ms = now_ms()
                yield Snapshot(at_ms, watched.window_ms, watched.group, recent.told(at_ms), found, whole)


def now_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


def _places(prefix: str, kinds: tuple[str, ...], counts: dict[str, int]) -> list[Place]:
    return [(prefix + kind, number) for kind in kinds for number in range(counts.get(prefix + kind, 0))]


async def _opened(client: Any, reach: Reach, places: list[Place], from_ms: int) -> dict[Any, int]:
    """Sets the client to where the window begins; returns the ends, for the partitions that hold something of it."""
    partitions = [TopicPartition(*place) for place in places]
    ends = await offsets(client, reach, "end", places)
    found = await within(reach.bootstrap, client.offsets_for_times(dict.fromkeys(partitions, from_ms)))
    client.assign(partitions)
    for partition in partitions:
        there, end = found.get(partition), ends[partition.topic, partition.partition]
        client.seek(partition, end if there is None else there.offset)
    return {one: ends[one.topic, one.partition] for one in partitions if found.get(one) is not None}


async def _take(client: Any, watched: Watched, recent: Recent) -> None:
    try:
        fetched = await client.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
    except (KafkaError, OSError) as error:
        raise BrokerUnreachable(f"reading from {watched.bootstrap} failed: {error!r}; is the broker up?") from error
    for partition, records in fetched.items():
        kind = partition.topic.removeprefix(watched.prefix)
        for record in records:
            recent.add(kind, record.value, record.timestamp)


async def _passed(client: Any, waiting: dict[Any, int]) -> bool:
    for partition, end in list(waiting.items()):
        if await client.position(partition) >= end:
            del waiting[partition]
    return not waiting
