"""Three nodes under load and one worker that stays: a leader, a follower, the coordinators go, then all three."""

from __future__ import annotations

import asyncio
import bisect
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import KafkaError

from streams.runtime import topics
from streams.runtime.broker import BrokerConfig, Cluster
from tests.faults.conftest import Report
from tests.faults.fleet import Fleet, wait_until
from tests.faults.load import Load

pytestmark = pytest.mark.faults

COPIES = 3
LEFT_OPEN = "brings nothing past offset"  # what a hand-over says of a changelog behind an open transaction


def test_a_worker_outlives_what_happens_to_a_cluster(prefix: str, tmp_path: Path, report: Report) -> None:
    with Cluster(BrokerConfig(data=tmp_path / "kafka")) as cluster:
        fleet = Fleet(cluster.bootstrap, prefix, tmp_path)
        trial = Trial(cluster, fleet)
        keeps_what_it_acknowledges(cluster.bootstrap, prefix)
        try:
            with Load(fleet, "cluster"):
                worker = fleet.start()
                trial.gets_on()
                for topic in ("commands", "state"):
                    trial.without_a_node(f"leader of {topic}/0 killed", trial.leader(topic, 0), cluster.kill)
                trial.without_a_node("follower stopped", trial.follower(), cluster.stop)
                group, transactions = trial.coordinators()
                trial.without_a_node("transaction coordinator killed", transactions, cluster.kill)
                if group != transactions:
                    trial.without_a_node("group coordinator killed", group, cluster.kill)
                trial.without_all("all three stopped", cluster.stop)
                trial.without_all("all three killed", cluster.kill)
            fleet.wait_until_done()
            assert len(fleet.processes) == 1
            assert worker.stop() == 0, worker.says()[-3000:]
            assert LEFT_OPEN not in worker.says(), worker.says()[-20000:]
            verdict = fleet.audit()
            says_what_is_lost_with_one_node(cluster.bootstrap, prefix)
            report(
                f"{len(trial.faults)} faults on three nodes over {verdict['inputs']} inputs: missing "
                f"{verdict['missing']}, duplicates {verdict['duplicates']}; longest pause between commands: "
                + ", ".join(trial.pauses())
            )
        finally:
            fleet.end()


def keeps_what_it_acknowledges(bootstrap: str, prefix: str) -> None:
    """Three copies, two of them in sync, without being asked to."""
    there = asyncio.run(topics.inspect(bootstrap, prefix))
    assert there.differing == ()
    kept = {(one.copies, one.settings["min.insync.replicas"]) for one in there.found.values()}
    assert kept == {(COPIES, "2")}


def says_what_is_lost_with_one_node(bootstrap: str, prefix: str) -> None:
    """One copy on three brokers is said. These topics are made last: they never have three copies."""
    asyncio.run(topics.apply(bootstrap, f"{prefix}single.", replication_factor=1))

    def is_said() -> bool:
        # a broker that the controller has not heard of for 3 s does not count: on a busy machine that happens
        found = asyncio.run(topics.inspect(bootstrap, f"{prefix}single."))
        return {one.setting for one in found.differing} == {"replication.factor"}

    wait_until(is_said, 60, "one copy on three brokers was not said")


class Trial:
    """Each fault begins on a healthy cluster and is noted with its time, so that pauses can be told apart later."""

    def __init__(self, cluster: Cluster, fleet: Fleet) -> None:
        self.cluster, self.fleet = cluster, fleet
        self.faults: list[tuple[str, int]] = []
        self.away_s: dict[str, float] = {}  # how long there was no cluster at all: on a busy machine most of a pause
        self._committed = 0  # the most that was seen: a coordinator that has just come back says nothing for a while

    def without_a_node(self, name: str, number: int, end: Callable[[int], None]) -> None:
        """The worker has to get on with the other two, and when the node comes back."""
        self._begin(f"{name} (node {number})")
        end(number)
        self.gets_on()
        self.cluster.start(number)
        self.gets_on()

    def without_all(self, name: str, end: Callable[[], None]) -> None:
        self._begin(name)
        began = time.monotonic()
        end()
        time.sleep(3)
        self.cluster.start()
        self.away_s[name] = time.monotonic() - began
        self.gets_on()

    def _begin(self, name: str) -> None:
        wait_until(self._is_healthy, 90, "the copies did not come together", self.fleet)
        self.faults.append((name, time.time_ns() // 1_000_000))

    def gets_on(self, records: int = 800) -> None:
        goal = self._seen() + records
        wait_until(lambda: self._seen() >= goal, 90, "the group made no progress", self.fleet)

    def _seen(self) -> int:
        self._committed = max(self._committed, self.fleet.committed())
        return self._committed

    def pauses(self) -> Iterator[str]:
        """The longest between two commands after each fault; the last command before it counts."""
        times_ms = self.fleet.command_times_ms()
        ends_ms = [at_ms for _, at_ms in self.faults[1:]] + [times_ms[-1]]
        for (name, from_ms), to_ms in zip(self.faults, ends_ms, strict=True):
            first = max(0, bisect.bisect_right(times_ms, from_ms) - 1)
            within = times_ms[first : bisect.bisect_right(times_ms, to_ms)]
            pause_s = max(later - at for at, later in pairwise(within)) / 1000
            away = f" (no cluster for {self.away_s[name]:.1f} s)" if name in self.away_s else ""
            yield f"{name} {pause_s:.1f} s{away}"

    def leader(self, kind: str, number: int) -> int:
        return int(self._partition(kind, number)["leader"])

    def follower(self) -> int:
        """A node that leads neither of the partitions that the gate's lane 0 writes to most."""
        leaders = {self.leader(kind, 0) for kind in ("commands", "state")}
        return min({1, 2, 3} - leaders)

    def coordinators(self) -> tuple[int, int]:
        """The nodes of the group, and of the transactions of partition number 0."""
        return asyncio.run(_coordinators(self.fleet.bootstrap, self.fleet.group, self.fleet.prefix))

    def _partition(self, kind: str, number: int) -> dict[str, Any]:
        found = asyncio.run(_partitions(self.fleet.bootstrap))[self.fleet.prefix + kind]
        return next(one for one in found if one["partition"] == number)

    def _is_healthy(self) -> bool:
        """Every partition, also of the internal topics, has a leader and all its copies."""
        try:
            found = asyncio.run(_partitions(self.fleet.bootstrap))
        except (KafkaError, OSError):
            return False
        return all(one["leader"] > 0 and len(one["isr"]) == COPIES for ones in found.values() for one in ones)


async def _partitions(bootstrap: str) -> dict[str, list[dict[str, Any]]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
    finally:
        await admin.close()


async def _coordinators(bootstrap: str, group: str, prefix: str) -> tuple[int, int]:
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        return (
            await client.coordinator_lookup(CoordinationType.GROUP, group),
            await client.coordinator_lookup(CoordinationType.TRANSACTION, f"{prefix}/{group}/0"),
        )
    finally:
        await client.close()
