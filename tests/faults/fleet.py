"""Worker processes that a test kills, freezes and holds, and the judgement at the end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from agents.audit.report import BROKEN
from streams.runtime import topics
from streams.runtime.logs import LEVEL_VARIABLE
from tests.faults.stranger import Strangers
from tests.kafka.harness import remove_before, seed

PARTITIONS = 4
POLICY = """\
workflow: payout
version: 1
freshness: {budget: 10m, total: 20m}
boundary:
  rules:
    - {name: blocked-country, when: {attributes.country: {equals: xx}}, then: block}
    - name: small-and-sure
      then: autonomous
      limits: {value_minor_at_most: 100000, currency: EUR, confidence_at_least: 0.6}
"""
SLUICEGATE = (sys.executable, "-c", "from agents.cli.main import main; main()")


class Removed(TypedDict):
    """A range of offsets, as the audit names it."""

    topic: str
    partition: int
    offset: int
    through: int


class Process:
    """One worker process, started without its supervisor so that a test decides what comes after its death."""

    def __init__(
        self, fleet: Fleet, name: str, failpoints: str = "", role: str = "gate", more: Sequence[str] = ()
    ) -> None:
        self.log = fleet.folder / f"{name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "agents.worker", role),
                    f"--bootstrap={fleet.bootstrap}",
                    f"--prefix={fleet.prefix}",
                    f"--group={fleet.prefix}{role}",
                    *more,
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, LEVEL_VARIABLE: "debug", "SLUICEGATE_FAILPOINTS": failpoints},
            )

    def says(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code of the drain."""
        self.process.terminate()
        return self.process.wait(20)


class Fleet:
    """The workers of one test on one set of topics."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self._far = 0
        self.bootstrap, self.prefix, self.folder = bootstrap, prefix, folder
        self.group = prefix + "gate"
        self.policies = folder / "policies"
        self.policies.mkdir()
        (self.policies / "payout.yaml").write_text(POLICY)
        self.processes: list[Process] = []
        self.strangers: list[Strangers] = []
        self.removed: list[Removed] = []
        asyncio.run(topics.apply(bootstrap, prefix, PARTITIONS))

    def start(self, failpoints: str = "", role: str = "gate", more: Sequence[str] = ()) -> Process:
        if not self.processes:
            seed(self.bootstrap, self.prefix, self.policies)
        process = Process(self, f"worker-{len(self.processes)}-{role}", failpoints, role, more)
        self.processes.append(process)
        return process

    def end(self) -> None:
        for one in self.processes:
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGCONT)
                one.kill()

    def committed(self) -> int:
        """How far the group is, over all partitions of `decisions`; a loading coordinator says less."""
        self._far = max(self._far, sum(asyncio.run(_committed(self.bootstrap, self.group)).values()))
        return self._far

    def wait_for_progress(self, records: int = 1, within_s: float = 60) -> None:
        """Returns when the group has committed `records` more than now."""
        start = self.committed()
        wait_until(lambda: self.committed() >= start + records, within_s, "the group made no progress", self)

    def is_done(self) -> bool:
        """Whether the group has committed all that is there."""
        at = asyncio.run(_committed(self.bootstrap, self.group))
        ends = asyncio.run(_ends(self.bootstrap, self.prefix + "decisions"))
        return all(at.get(partition, 0) >= end for partition, end in ends.items())

    def wait_until_done(self, within_s: float = 120) -> None:
        wait_until(self.is_done, within_s, "the gate did not catch up", self)

    def audit(self) -> dict[str, Any]:
        """The verdict over whole topics: with no group, so every input has to be answered.

        It names each record that strangers wrote where only Sluicegate writes, and each range that was removed unread;
        and nothing else.
        """
        code, said = self._audit()
        verdict: dict[str, Any] = json.loads(said)
        strange = sum(one.unexplained for one in self.strangers)
        broken = {name: verdict[name] for name in BROKEN if verdict[name]}
        lost = sum(one["through"] + 1 - one["offset"] for one in self.removed)
        expected = {name: count for name, count in (("unexplained", strange), ("lost", lost)) if count}
        assert broken == expected, f"audit exit {code}, {strange} strange: {json.dumps(verdict, indent=1)[:6000]}"
        assert sorted(verdict["lost_ranges"], key=str) == sorted(self.removed, key=str)
        assert code == (1 if expected else 0)
        return verdict

    def wait_until_content(self, within_s: float = 120) -> dict[str, Any]:
        """The verdict once everything has its answer, also what was asked again."""
        end = time.monotonic() + within_s
        while True:
            try:
                return self.audit()
            except AssertionError:
                if time.monotonic() > end:
                    raise

    def _audit(self) -> tuple[int, str]:
        done = subprocess.run(
            [*SLUICEGATE, "audit", "--bootstrap", self.bootstrap, "--prefix", self.prefix, "--output", "json"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout

    def removes(self, number: int, count: int) -> None:
        """Removes `count` offsets of a partition of `decisions` that nobody has read yet, as retention does."""
        place = TopicPartition(self.prefix + "decisions", number)
        first = asyncio.run(_committed(self.bootstrap, self.group))[place]
        wait_until(lambda: asyncio.run(_ends(self.bootstrap, place.topic))[place] > first + count, 60, "nothing came")
        asyncio.run(remove_before(self.bootstrap, place.topic, first + count, number))
        self.removed.append({"topic": place.topic, "partition": number, "offset": first, "through": first + count - 1})

    def command_times_ms(self) -> list[int]:
        """When the broker appended each command, rising."""
        return asyncio.run(_append_times(self.bootstrap, self.prefix + "commands"))


def wait_until(holds: Callable[[], bool], within_s: float, otherwise: str, fleet: Fleet | None = None) -> None:
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            logs = "\n".join(
                f"--- {one.log.name}\n{one.says()[-20000:]}" for one in (fleet.processes[-3:] if fleet else ())
            )
            raise AssertionError(f"{otherwise} within {within_s} s\n{logs}")
        time.sleep(0.1)


async def _committed(bootstrap: str, group: str) -> dict[TopicPartition, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group)
    except (KafkaError, AttributeError):
        return {}  # the coordinator is not there yet (aiokafka stumbles over some of its answers)
    finally:
        await admin.close()
    return {partition: at.offset for partition, at in found.items() if partition.topic.endswith("decisions")}


async def _ends(bootstrap: str, topic: str) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(
            [TopicPartition(topic, n) for n in range(PARTITIONS)]
        )
    finally:
        await consumer.stop()
    return ends


async def _append_times(bootstrap: str, topic: str) -> list[int]:
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    times: list[int] = []
    try:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                times += [record.timestamp for record in records]
    finally:
        await consumer.stop()
    return sorted(times)
