"""Reads whole topics as a careful consumer sees them: read_committed, assigned without a group, from start to end.

Offsets are not counts: transaction markers, aborted and compacted records take offsets without being delivered, so
a partition is done when its position has reached the end, not when a record with the last offset has come.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.audit.inputs import Place, Record
from streams.errors import BrokerUnreachable, CheckFailed

T = TypeVar("T")
Isolation = Literal["read_committed", "read_uncommitted"]

CONNECT_S = 10
STALL_S = 75
"""An open transaction holds readers back: Kafka's default ends it after 60 s, and the broker looks every 10 s."""
POLL_MS = 200
BATCH_RECORDS = 2000
FETCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reach:
    """How far a reader goes, and how long it waits."""

    bootstrap: str
    stall_s: float = STALL_S
    telling: Callable[[bytes], bytes] | None = None


async def within(bootstrap: str, call: Awaitable[T], timeout_s: float = CONNECT_S) -> T:
    """Awaits a call to the broker; what it cannot answer in time is BrokerUnreachable."""
    try:
        return await asyncio.wait_for(call, timeout_s)
    except (TimeoutError, KafkaError, OSError) as error:
        cause = str(error) or f"no answer in {timeout_s} s"
        raise BrokerUnreachable(
            f"no Kafka answers at {bootstrap} ({cause}); start one with `sluicegate broker`, or name "
            "yours with --bootstrap"
        ) from error


@asynccontextmanager
async def consumer(reach: Reach, isolation: Isolation) -> AsyncIterator[Any]:
    client = AIOKafkaConsumer(
        bootstrap_servers=reach.bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # retention may move a partition's start while it is read
        max_partition_fetch_bytes=FETCH_BYTES,
        key_deserializer=reach.telling,
    )
    try:
        await within(reach.bootstrap, client.start())
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def admin(reach: Reach) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(bootstrap_servers=reach.bootstrap)
    try:
        await within(reach.bootstrap, client.start())
        yield client
    finally:
        await client.close()


async def partition_counts(client: Any, reach: Reach, topics: Sequence[str]) -> dict[str, int]:
    """The partition count of each topic that exists. Never asks for one by name: a broker might create it."""
    existing = set(await within(reach.bootstrap, client.list_topics()))
    named = [topic for topic in topics if topic in existing]
    if not named:
        return {}
    described = await within(reach.bootstrap, client.describe_topics(named))
    return {str(found["topic"]): len(found["partitions"]) for found in described}


async def committed(client: Any, reach: Reach, group: str, places: Sequence[Place]) -> dict[Place, int]:
    """The group's committed offsets; a partition for which it has none is absent."""
    asked = [TopicPartition(*place) for place in places]
    deadline_s = time.monotonic() + CONNECT_S
    while True:
        try:
            found = await asyncio.wait_for(client.list_consumer_group_offsets(group, partitions=asked), CONNECT_S)
        except (KafkaError, AttributeError) as error:  # aiokafka 0.14 stumbles over its own error answer
            if time.monotonic() > deadline_s:
                raise BrokerUnreachable(f"the offsets of the group {group} cannot be read: {error!r}") from error
            await asyncio.sleep(0.2)
        except TimeoutError as error:
            raise BrokerUnreachable(f"the offsets of the group {group} did not come in {CONNECT_S} s") from error
        else:
            # a coordinator that is still loading gives no partitions, and aiokafka does not say so
            if found.keys() >= set(asked) or time.monotonic() > deadline_s:
                return {(at.topic, at.partition): meta.offset for at, meta in found.items() if meta.offset >= 0}
            await asyncio.sleep(0.2)


async def offsets(
    client: Any, reach: Reach, edge: Literal["start", "end"], places: Sequence[Place]
) -> dict[Place, int]:
    """The first or the next offset of each partition (for a read_committed client: up to the last stable one)."""
    if not places:
        return {}
    ask = client.beginning_offsets if edge == "start" else client.end_offsets
    found = await within(reach.bootstrap, ask([TopicPartition(*place) for place in places]))
    return {(at.topic, at.partition): offset for at, offset in found.items()}


async def read(
    client: Any,
    reach: Reach,
    starts: dict[Place, int],
    ends: dict[Place, int],
    passed: Callable[[int], None],
) -> AsyncIterator[Sequence[Record]]:
    """Yields the records between start and end, each partition in order; `passed` hears how many offsets went by."""
    positions = {TopicPartition(*place): start for place, start in starts.items() if start < ends[place]}
    client.assign(list(positions))
    for at, start in positions.items():
        client.seek(at, start)
    moved_s = asked_s = time.monotonic()
    while positions:
        try:
            fetched = await client.getmany(*positions, timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
        except (KafkaError, OSError) as error:
            raise BrokerUnreachable(f"reading from {reach.bootstrap} failed: {error!r}; is the broker up?") from error
        for at, records in fetched.items():
            end = ends[at.topic, at.partition]
            yield [record for record in records if record.offset < end] if records[-1].offset >= end else records
        now_s = time.monotonic()
        for at, before in list(positions.items()):
            end = ends[at.topic, at.partition]
            position = min(end, await client.position(at))
            if position != before:
                moved_s = now_s
                passed(max(0, position - before))
                positions[at] = position
            if position >= end:
                client.pause(at)
                del positions[at]
        if positions and now_s - max(moved_s, asked_s) > min(CONNECT_S, reach.stall_s):
            await offsets(client, reach, "end", [(at.topic, at.partition) for at in positions])
            asked_s = time.monotonic()
        if positions and now_s - moved_s > reach.stall_s:
            raise _stalled(reach, positions, ends)


def _stalled(reach: Reach, positions: dict[Any, int], ends: dict[Place, int]) -> CheckFailed:
    at, position = next(iter(positions.items()))
    return CheckFailed(
        f"{at.topic} partition {at.partition} can be read up to offset {position} of {ends[at.topic, at.partition]} "
        f"only, for {reach.stall_s:g} s now: a transaction is open there; audit again when it has ended"
    )
