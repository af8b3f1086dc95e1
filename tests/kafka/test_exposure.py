"""Exposure limits on a real Kafka: a limit of an entity, and one that the partitions share by leases."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.partitioner import murmur2

from streams.runtime.broker import Broker
from streams.runtime.topics import apply
from tests.kafka.harness import (
    WAIT_S,
    Child,
    audited,
    decision,
    dispositions,
    read,
    record,
    seed,
    send,
    write_policies,
)

pytestmark = [pytest.mark.kafka, pytest.mark.asyncio]

PARTITIONS = 4
SHARED = 100
POLICY = f"""\
workflow: billing
version: 3
freshness: {{budget: 10m, total: 20m}}
boundary:
  rules:
    - {{name: all, then: autonomous}}
  exposure:
    - {{name: shared, window: 1d, per: [segment], count_at_most: {SHARED}}}
    - {{name: of-entity, window: 1d, per: [entity], value_minor_at_most: 1000, currency: USD, then: block}}
"""


def limited(bootstrap: str, prefix: str, folder: Path, role: str) -> Child:
    arguments = [role, f"--bootstrap={bootstrap}", f"--prefix={prefix}", f"--group={prefix}{role}"]
    module = [sys.executable, "-m", "agents.worker"]
    return Child([*module, *arguments], folder / f"{role}.log")


def entities_of(partition: int) -> list[str]:
    """Some whose decisions go to this partition."""
    names = [f"acct-{number}" for number in range(1_000)]
    return [one for one in names if (murmur2(one.encode()) & 0x7FFFFFFF) % PARTITIONS == partition]


async def test_a_worker_keeps_both_limits_and_leases_what_one_partition_lacks(
    kafka: Broker, prefix: str, tmp_path: Path
) -> None:
    await apply(kafka.bootstrap, prefix, PARTITIONS)
    seed(kafka.bootstrap, prefix, write_policies(tmp_path / "policies", POLICY))
    names, topic = entities_of(1), prefix + "decisions"
    with (
        limited(kafka.bootstrap, prefix, tmp_path, "exposure") as allocator,
        limited(kafka.bootstrap, prefix, tmp_path, "gate") as gate,
    ):
        await allocator.said("partition ready")
        await gate.said("partition ready", PARTITIONS)
        big = [record(topic, decision(f"big-{n}", names[0], value_minor=400, segment="big")) for n in range(3)]
        answers = await _answers(kafka.bootstrap, prefix, await send(kafka.bootstrap, big))
        assert [(what, body.get("reason")) for what, body in answers] == [
            ("commands", "within_bounds"),
            ("commands", "within_bounds"),
            ("exceptions", "boundary.limit"),
        ]
        assert answers[2][1]["exposure_seen"]["of-entity"] == {"used": 800, "held": 1000}
        told: list[tuple[str, Any]] = []
        until = time.monotonic() + WAIT_S
        while _commands(told) < SHARED - 3 * SHARED // 20:
            assert time.monotonic() < until, (Counter(what for what, _ in told), gate.log, allocator.log)
            more = [
                record(topic, decision(f"s-{len(told)}-{n}", names[1 + (len(told) + n) % 90], segment="s"))
                for n in range(4)
            ]
            told += await _answers(kafka.bootstrap, prefix, await send(kafka.bootstrap, more))
            await asyncio.sleep(0.1)
        # partition 1 alone: all but what the three others own, and not one more
        last = [record(topic, decision(f"last-{n}", names[91 + n], segment="s")) for n in range(4)]
        over = await _answers(kafka.bootstrap, prefix, await send(kafka.bootstrap, last))
        assert [(what, body["reasons"]) for what, body in over] == [("reviews", ["exposure"])] * 4
        assert over[0][1]["exposure_seen"]["shared"] == {"used": 85, "held": 85}
        assert await gate.stop() == 0
        assert await allocator.stop() == 0
    verdict = await audited(kafka.bootstrap, prefix)
    assert (verdict["missing"], verdict["duplicates"]) == (0, 0)
    leases = [
        one for one in await read(kafka.bootstrap, [prefix + "workers"], 1) if (one.key or b"").startswith(b"lease/")
    ]
    assert max(one.json()["total"] for one in leases) == 80


async def _answers(bootstrap: str, prefix: str, places: list[tuple[str, int, int]]) -> list[tuple[str, Any]]:
    count = len(places)
    until = time.monotonic() + WAIT_S
    while True:
        found = await dispositions(bootstrap, prefix, count)
        if set(places) <= found.keys():
            return [found[place] for place in places]
        assert time.monotonic() < until, f"{len(found)} answers"
        count = len(found) + 1


def _commands(told: list[tuple[str, Any]]) -> int:
    return sum(what == "commands" for what, _ in told)
