"""How long after a halt something still starts: `python -m tests.bench.halts [--side gates] [--tries 50] [--rate 400]`.

Executor: commands come faster than they are acted on, so some hundred always wait, and an action that starts is what
must not. Gates: two workers under a steady flow of decisions, and a command that reaches the broker is.

A halt is written as `sluicegate halt` writes it, in a transaction; what counts is the last start after the broker had
acknowledged the commit, on one clock. Then it is resumed, and tried again once things start again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.published import Scope
from streams.errors import CheckFailed
from streams.runtime import topics
from streams.runtime.broker import Broker, BrokerConfig
from tests.bench.switching import POLICY
from tests.kafka.harness import SLUICEGATE, Child, now_ms

KIT = Path(__file__).parents[2] / "deploy/clients/python"
WORKFLOW = "billing"
KEY = Scope().key.encode()  # everything
PARTITIONS = 4
TICK_S = 0.02
START_S = 60.0
QUIET_S = 1.5  # so long is listened after a halt: what starts later than this would be missed
ACTION_MS, CONCURRENCY = 50, 16  # 320 actions a second at most


@dataclass(frozen=True, slots=True)
class Place:
    bootstrap: str
    prefix: str
    folder: Path
    rate_per_s: int

    def topic(self, kind: str) -> str:
        return self.prefix + kind


@dataclass(frozen=True, slots=True)
class Try:
    """Milliseconds until the last start: since the halt was sent, since the broker had it; and until it was followed.

    0 where nothing started any more. `acknowledged_ms`: from the broker's word to the heartbeat of the last to follow.
    """

    since_sent_ms: float
    since_committed_ms: float
    acknowledged_ms: float


class Side(Protocol):
    """What must stop: `started_ns` are the times (epoch) at which something in the scope started so far, rising.

    `followers`: how many must acknowledge.
    """

    followers: int

    def started_ns(self) -> Sequence[int]: ...


@asynccontextmanager
async def executor(place: Place) -> AsyncIterator[Side]:
    """An executor of the kit, a process of its own, with commands coming in all the time."""
    arguments = [place.bootstrap, place.prefix, str(place.folder), str(ACTION_MS), str(CONCURRENCY)]
    command = [sys.executable, "-m", "tests.bench.halts_executor", *arguments]
    with Child(command, place.folder / "executor.log", {"PYTHONPATH": f"{KIT}{os.pathsep}."}) as child:
        sending = asyncio.create_task(_commands(place))
        try:
            yield _Lines(place.folder / "started")
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await child.stop()


@asynccontextmanager
async def gates(place: Place) -> AsyncIterator[Side]:
    """Two workers that share the partitions, and decisions coming in all the time."""
    policies = place.folder / "policies"
    policies.mkdir()
    (policies / "payout.yaml").write_text(POLICY)
    command = [*SLUICEGATE, "worker", "--bootstrap", place.bootstrap, "--prefix", place.prefix, "--roles", "gate"]
    command += ["--policies", str(policies), "--metrics-port", "0"]
    numbers = [str(PARTITIONS), "7", "60000", str(place.rate_per_s), "100000"]
    flood = [sys.executable, "-m", "tests.bench.flood", place.bootstrap, place.topic("decisions"), *numbers]
    with Child(command, place.folder / "first.log") as first:
        await first.said("partition ready", PARTITIONS)
        with Child(command, place.folder / "second.log") as second, Child(flood, place.folder / "flood.log"):
            await second.said("partition ready", 2)
            commands = _Commands(place)
            async with commands:
                yield commands


SIDES: dict[str, Callable[[Place], AbstractAsyncContextManager[Side]]] = {"executor": executor, "gates": gates}


class _Commands:
    """Reads when commands reached the broker, by the broker's clock, which here is ours."""

    followers = 2

    def __init__(self, place: Place) -> None:
        self._read = list[int]()
        self._consumer = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, isolation_level="read_committed")
        self._places = [TopicPartition(place.topic("commands"), number) for number in range(PARTITIONS)]
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._places)
        await self._consumer.seek_to_end(*self._places)
        self._task = asyncio.create_task(self._follow())

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def _follow(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=100)).values():
                self._read += [one.timestamp * 1_000_000 for one in records]
            self._read = sorted(self._read[-20_000:])

    def started_ns(self) -> Sequence[int]:
        return self._read


class _Lines:
    """Reads the times that a process appends to a file."""

    followers = 1

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._at = path, list[int](), 0

    def started_ns(self) -> Sequence[int]:
        if self._path.exists():
            with self._path.open("rb") as lines:
                lines.seek(self._at)
                whole = lines.read().rpartition(b"\n")[0]
            if whole:
                self._at += len(whole) + 1
                self._read = sorted([*self._read[-10_000:], *map(int, whole.split())])
        return self._read


async def _commands(place: Place) -> None:
    """Sends at the rate, whatever becomes of them."""
    producer = AIOKafkaProducer(bootstrap_servers=place.bootstrap)
    await producer.start()
    try:
        begun_s, sent = time.monotonic(), 0
        while True:
            while sent < int((time.monotonic() - begun_s) * place.rate_per_s):
                await _send_one(producer, place, sent)
                sent += 1
            await asyncio.sleep(TICK_S)
    finally:
        await producer.stop()


async def _send_one(producer: AIOKafkaProducer, place: Place, number: int) -> None:
    entity, at_ms = f"acct-{number % 997}", now_ms()
    body = {"command_id": f"c-{number}", "workflow": WORKFLOW, "entity": entity, "action": {"type": "invoice.post"}}
    value = json.dumps({**body, "gated_at_ms": at_ms, "deadline_ms": at_ms + 600_000}).encode()
    await producer.send(place.topic("commands"), value, key=entity.encode(), partition=number % PARTITIONS)


class Operator:
    """Writes halts and resumptions, and waits until somebody follows them."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._producer = AIOKafkaProducer(
            bootstrap_servers=place.bootstrap, transactional_id=place.prefix + "bench", retry_backoff_ms=10
        )
        self._workers = AIOKafkaConsumer(bootstrap_servers=place.bootstrap, auto_offset_reset="latest")
        self._heard = TopicPartition(place.topic("workers"), 0)

    async def __aenter__(self) -> Operator:
        await self._producer.start()
        await self._workers.start()
        self._workers.assign([self._heard])
        await self._workers.seek_to_end(self._heard)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._workers.stop()

    async def write(self, halted: bool) -> tuple[int, int, int]:
        """When it was sent and committed (epoch ns), and the offset behind it."""
        value = json.dumps({"halted": halted, "why": "measured", "by": "bench", "at_ms": now_ms()}).encode()
        sent_ns = time.time_ns()
        async with self._producer.transaction():
            there = await self._producer.send_and_wait(self._place.topic("policies"), value, key=KEY, partition=0)
        return sent_ns, time.time_ns(), there.offset + 1

    async def followed(self, offset: int, followers: int) -> int:
        """When the last of so many was heard to say so (epoch ns)."""
        following: set[bytes] = set()
        async with asyncio.timeout(START_S):
            while True:
                for records in (await self._workers.getmany(timeout_ms=200)).values():
                    following |= {one.key for one in records if json.loads(one.value)["policies_offset"] >= offset}
                    if len(following) >= followers:
                        return time.time_ns()


async def one_try(side: Side, operator: Operator) -> Try:
    """Raises CheckFailed where nothing starts that could be stopped."""
    await _flows(side)
    sent_ns, committed_ns, offset = await operator.write(True)
    followed_ns = await operator.followed(offset, side.followers)
    await asyncio.sleep(QUIET_S)
    last_ns = max(side.started_ns())
    await operator.followed((await operator.write(False))[2], side.followers)
    since_ms = [max(0.0, (last_ns - since) / 1e6) for since in (sent_ns, committed_ns)]
    return Try(since_ms[0], since_ms[1], (followed_ns - committed_ns) / 1e6)


async def _flows(side: Side) -> None:
    """Waits until actions start at the pace that is possible."""
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s:
        since_ns = time.time_ns() - 500_000_000
        if sum(one > since_ns for one in side.started_ns()[-1000:]) >= 50:
            return
        await asyncio.sleep(0.1)
    raise CheckFailed(f"in {START_S:g} s not even 100 actions a second started: is the machine too busy?")


async def measure(make: Callable[[Place], AbstractAsyncContextManager[Side]], place: Place, tries: int) -> list[Try]:
    """So many halts in a row, each resumed. Raises CheckFailed."""
    await topics.apply(place.bootstrap, place.prefix, PARTITIONS)
    async with make(place) as side, Operator(place) as operator:
        await one_try(side, operator)  # the first transaction of all finds its way to the coordinator
        return [await one_try(side, operator) for _ in range(tries)]


def told(name: str, taken_ms: Sequence[float]) -> str:
    """Median, p99 and the greatest, in milliseconds."""
    rising = sorted(taken_ms)
    median, high = (rising[max(0, math.ceil(share * len(rising)) - 1)] for share in (0.5, 0.99))
    return f"{name:42} median {median:7.1f}   p99 {high:7.1f}   max {rising[-1]:7.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--side", choices=SIDES, default="executor", help="who must stop (default: executor)")
    parser.add_argument("--tries", type=int, default=50, help="how many halts (default: 50)")
    parser.add_argument("--rate", type=int, default=400, help="commands or decisions a second (default: 400)")
    asked = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # of topics that were made a moment ago
    with tempfile.TemporaryDirectory() as folder, Broker(BrokerConfig(optimise=True)) as broker:
        place = Place(broker.bootstrap, "halts.", Path(folder), asked.rate)
        try:
            found = asyncio.run(measure(SIDES[asked.side], place, asked.tries))
        except (CheckFailed, AssertionError, TimeoutError):
            for log in Path(folder).glob("*.log"):
                with contextlib.suppress(OSError):
                    sys.stderr.write(log.read_text()[-2000:])
            raise
    print(f"{asked.side}: {len(found)} halts at {asked.rate} a second")
    print(told("last start after the halt was sent", [one.since_sent_ms for one in found]))
    print(told("last start after the broker had it", [one.since_committed_ms for one in found]))
    print(told("acknowledged on workers after that", [one.acknowledged_ms for one in found]))
    late = sum(one.since_committed_ms > 0 for one in found)
    print(f"in {late} of {len(found)} anything started after the broker had it")


if __name__ == "__main__":
    main()
