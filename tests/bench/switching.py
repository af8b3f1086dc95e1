"""What changing a policy costs the decisions that are made meanwhile.

python -m tests.bench.switching [--rate 2000] [--seconds 20] [--changes 20] [--rounds 3]

A gate decides a steady flow, that it is first shown to keep up with: once left alone (control), once with policies
applied evenly over the time, in turn. Printed: the longest time between two decisions (by `gated_at_ms`, and by the
broker's time of the outputs), and whether in every partition the versions on the outputs only rise.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.common import Source
from schemas.policy import PolicyDocument
from streams.governing import Signed, applied
from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.broker.sockets import free_port
from streams.runtime.policies_topic import change
from streams.runtime.settings import Kafka
from streams.runtime.topics import apply
from tests.kafka.harness import SLUICEGATE, Child

PARTITIONS = 4
BUDGET_MS = 60_000
WARM_S = 3.0  # of the flow, not looked at
POLICY = f"""\
workflow: payout
version: 1
freshness: {{budget: {BUDGET_MS}ms}}
boundary:
  rules:
    - {{name: small, then: autonomous, limits: {{value_minor_at_most: 10000, currency: EUR}}}}
"""


class Answer(msgspec.Struct, gc=False):
    """What is read of an output."""

    source: Source
    gated_at_ms: int
    policy: str


class Seen(NamedTuple):
    """One disposition: when it was decided, when it reached the broker, of which place, under which version."""

    gated_at_ms: int
    appended_ms: int
    place: tuple[int, int]
    version: int


async def outputs(kafka: Kafka, count: int) -> list[Seen]:
    """All dispositions, once there are `count`."""
    decode = msgspec.json.Decoder(Answer).decode
    places = [TopicPartition(kafka.topic(kind), n) for kind in ("commands", "reviews", "exceptions") for n in range(4)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        found: list[Seen] = []
        until = time.monotonic() + 60
        while len(found) < count and time.monotonic() < until:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for one in records:
                    body = decode(one.value)
                    place = (body.source.partition, body.source.offset)
                    version = int(body.policy.rpartition("@")[2])
                    found.append(Seen(body.gated_at_ms, one.timestamp, place, version))
    finally:
        await consumer.stop()
    if len(found) != count:
        raise SystemExit(f"{len(found)} of {count} decisions were answered within a minute: the flow is too fast here")
    return found


def flow(kafka: Kafka, rate: int, seconds: float) -> subprocess.Popen[str]:
    numbers = [str(PARTITIONS), "7", str(BUDGET_MS), str(rate), str(seconds)]
    command = [sys.executable, "-m", "tests.bench.flood", kafka.bootstrap, kafka.topic("decisions"), *numbers]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def phase(bootstrap: str, folder: Path, given: argparse.Namespace, name: str, changes: int) -> list[Seen]:
    """One gate of its own, one flow through it; with so many changes of the policy in that time."""
    kafka = Kafka(bootstrap, f"{name}.")
    await apply(bootstrap, kafka.prefix, PARTITIONS)
    policies = folder / name
    policies.mkdir()
    (policies / "payout.yaml").write_text(POLICY)
    where = ["--bootstrap", bootstrap, "--prefix", kafka.prefix, "--policies", str(policies)]
    command = [*SLUICEGATE, "worker", *where, "--roles", "gate", "--metrics-port", "0"]
    with Child(command, folder / f"{name}.log") as worker:
        await worker.said("partition ready", PARTITIONS)
        sending = flow(kafka, given.rate, WARM_S + given.seconds)
        await asyncio.sleep(WARM_S)
        for number in range(changes):
            await asyncio.sleep((given.seconds - 2) / changes)
            await change_policy(kafka, number + 2)
        await asyncio.to_thread(sending.wait)
        seen = await outputs(kafka, int(given.rate * (WARM_S + given.seconds)))
        assert await worker.stop() == 0
    seen.sort()
    began_ms = seen[0].gated_at_ms + int(WARM_S * 1000)
    return [one for one in seen if one.gated_at_ms >= began_ms]


async def change_policy(kafka: Kafka, version: int) -> None:
    limit = 10_000 + version
    fields = {"workflow": "payout", "version": version, "freshness": {"budget": f"{BUDGET_MS}ms"}}
    rule = {"name": "small", "then": "autonomous", "limits": {"value_minor_at_most": limit, "currency": "EUR"}}
    document = msgspec.convert({**fields, "boundary": {"rules": [rule]}}, PolicyDocument)
    signed = Signed("bench", "a change", time.time_ns() // 1_000_000)
    await change(kafka, lambda edition: applied(edition, [document], "keep", signed))


def longest_ms(times_ms: Sequence[int]) -> int:
    return max(later - earlier for earlier, later in pairwise(sorted(times_ms)))


def told(seen: list[Seen]) -> str:
    by_place = sorted((one.place, one.version) for one in seen)
    falls = sum(later[1] < earlier[1] for earlier, later in pairwise(by_place) if earlier[0][0] == later[0][0])
    versions = len({one.version for one in seen})
    gaps = f"longest gap {longest_ms([one.gated_at_ms for one in seen])} ms by gated_at_ms"
    gaps += f", {longest_ms([one.appended_ms for one in seen])} ms by the broker's time"
    return f"{gaps}; {len(seen)} decisions, {versions} versions, {falls} places where a version falls"


async def run(given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name, Broker(BrokerConfig(port=free_port())) as broker:
        folder = Path(name)
        for number in range(given.rounds):
            for kind, changes in (("control", 0), ("changes", given.changes)):
                seen = await phase(broker.bootstrap, folder, given, f"{kind}{number}", changes)
                print(f"{kind:8} {told(seen)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.switching")
    parser.add_argument("--rate", type=int, default=2_000, help="decisions a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
