"""Lag in seconds: how long the next decision that a gate will read has been waiting, by the broker's own times.

An offset says how many; the time of the record at the group's committed offset says how long. A gate that stands still
writes nothing that could tell, so it is asked of the group, not of the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from agents.audit.inputs import Place
from agents.audit.read import Reach, committed, offsets

INPUTS = ("decisions", "successors")
NEXT_MS, TRIES = 300, 6  # a record that is there comes in a fraction of it


@dataclass(frozen=True)
class Lag:
    """`waiting_ms` is the longest wait of all partitions, at `place`; `behind` counts offsets, so at least records.

    Both are None where the group has committed nothing: no gate has read there yet.
    """

    waiting_ms: int | None
    behind: int | None
    place: Place | None = None


async def lag(asker: Any, client: Any, reach: Reach, group: str, places: list[Place], now_ms: int) -> Lag:
    """The lag of the group over the partitions of the gate's inputs. `client` reads committed records and is assigned
    anew. Raises BrokerUnreachable.
    """
    at = await committed(asker, reach, group, places)
    if not at:
        return Lag(None, None)
    ends = await offsets(client, reach, "end", list(at))
    waits = {place: ends[place] - offset for place, offset in at.items() if ends[place] > offset}
    times_ms = await _times_ms(client, {place: at[place] for place in waits})
    # control records take offsets too: where nothing comes, nothing waits
    if not times_ms:
        return Lag(0, 0)
    place = min(times_ms, key=lambda one: times_ms[one])
    return Lag(max(0, now_ms - times_ms[place]), sum(waits[one] for one in times_ms), place)


async def _times_ms(client: Any, at: dict[Place, int]) -> dict[Place, int]:
    """The broker's time of the first record at or after each offset."""
    if not at:
        return {}
    partitions = {TopicPartition(*place): offset for place, offset in at.items()}
    client.assign(list(partitions))
    for partition, offset in partitions.items():
        client.seek(partition, offset)
    found: dict[Place, int] = {}
    for _ in range(TRIES):
        for partition, records in (await client.getmany(timeout_ms=NEXT_MS, max_records=100)).items():
            found.setdefault((partition.topic, partition.partition), records[0].timestamp)
            client.pause(partition)
            del partitions[partition]
        for partition, offset in list(partitions.items()):
            if await client.position(partition) > offset:  # transaction markers alone
                client.pause(partition)
                del partitions[partition]
        if not partitions:
            break
    return found
