"""Two executors of the kit on one store, killed at random: nothing is done twice or late, and all of it is answered."""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams.runtime import topics
from streams.runtime.broker import Broker
from tests.faults.conftest import Report
from tests.faults.fleet import wait_until

pytestmark = pytest.mark.faults

HOME = Path(__file__).parents[2]
KIT = HOME / "deploy/clients/python"
PARTITIONS, ENTITIES, KILLS, PER_S = 4, 60, 20, 150
ANSWERED = {"executed", "expired", "unknown", "failed"}


class Commands:
    """Commands in committed and in aborted transactions until the block ends; some with hardly any time left."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.deadlines: dict[str, int] = {}
        self.taken_back: set[str] = set()
        self._bootstrap, self._prefix = bootstrap, prefix
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._error: BaseException | None = None

    def __enter__(self) -> Commands:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(60)
        if self._error is not None:
            raise self._error

    async def _send(self) -> None:
        rnd = random.Random(5)
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, transactional_id=self._prefix + "commands")
        await producer.start()
        try:
            while not self._stop.is_set():
                await producer.begin_transaction()
                aborted = rnd.random() < 0.1
                made = [self._command(rnd) for _ in range(PER_S // 10)]
                for entity, command in made:
                    await producer.send(self._prefix + "commands", json.dumps(command).encode(), key=entity.encode())
                if aborted:
                    await producer.abort_transaction()
                    self.taken_back |= {command["command_id"] for _, command in made}
                else:
                    await producer.commit_transaction()
                    self.deadlines |= {command["command_id"]: command["deadline_ms"] for _, command in made}
                await asyncio.sleep(0.1)
        except BaseException as error:
            self._error = error
        finally:
            await producer.stop()

    def _command(self, rnd: random.Random) -> tuple[str, dict[str, Any]]:
        now_ms = time.time_ns() // 1_000_000
        entity = f"acct-{rnd.randrange(ENTITIES)}"
        left_ms = rnd.randrange(110, 1500) if rnd.random() < 0.2 else 600_000
        command = {
            "command_id": "c-" + secrets.token_hex(16),
            "workflow": "payout",
            "entity": entity,
            "action": {"type": "pay", "fails": rnd.random() < 0.05},
            "gated_at_ms": now_ms,
            "deadline_ms": now_ms + left_ms,
            "field_to_come": {"a": 1},
        }
        return entity, command


class Executors:
    """Two instances; whichever is killed is started again."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.folder, self._prefix = folder, prefix
        self.acted = folder / "acted.txt"
        self._environment = {**os.environ, "SLUICEGATE_BOOTSTRAP": bootstrap, "PYTHONPATH": f"{KIT}{os.pathsep}{HOME}"}
        self._count = 0
        self.running = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[bytes]:
        self._count += 1
        arguments = [self._prefix, f"sqlite:///{self.folder}/store.db", str(self.acted)]
        with (self.folder / f"executor-{self._count}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.faults.executing", *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self, which: int) -> None:
        assert self.running[which].poll() is None, self.logs()
        self.running[which].kill()
        self.running[which].wait()
        self.running[which] = self._start()

    def stop(self) -> list[int]:
        for one in self.running:
            one.terminate()
        return [one.wait(40) for one in self.running]

    def end(self) -> None:
        for one in self.running:
            if one.poll() is None:
                one.kill()
                one.wait()

    def lines(self) -> int:
        return len(self.acted.read_bytes().splitlines()) if self.acted.exists() else 0

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("*.log"))[-3:])


def test_nothing_is_done_twice_or_late_when_executors_are_killed(
    kafka: Broker, prefix: str, tmp_path: Path, report: Report
) -> None:
    rnd = random.Random(3)
    asyncio.run(topics.apply(kafka.bootstrap, prefix, PARTITIONS))
    executors = Executors(kafka.bootstrap, prefix, tmp_path)
    try:
        with Commands(kafka.bootstrap, prefix) as commands:
            for _ in range(KILLS):
                before = executors.lines()
                wait_until(lambda at=before: executors.lines() > at + 20, 60, "nothing is acted on")  # type: ignore[misc]  # a lambda's default
                time.sleep(rnd.uniform(0, 1))
                executors.kill(rnd.randrange(2))
        answered: dict[str, set[bytes]] = {}
        until = time.monotonic() + 90
        while commands.deadlines.keys() - answered.keys():
            assert time.monotonic() < until, (
                f"unanswered: {commands.deadlines.keys() - answered.keys()}\n{executors.logs()}"
            )
            answered = asyncio.run(receipts(kafka.bootstrap, prefix))
        assert executors.stop() == [0, 0], executors.logs()
    finally:
        executors.end()
    judge(commands, executors, asyncio.run(receipts(kafka.bootstrap, prefix)), report)


def judge(commands: Commands, executors: Executors, answered: dict[str, set[bytes]], report: Report) -> None:
    acted = [line.split() for line in executors.acted.read_text().splitlines()]
    times = Counter(command_id for command_id, _, _ in acted)
    late = [line for line in acted if int(line[1]) >= int(line[2])]
    status = {command_id: json.loads(min(values))["status"] for command_id, values in answered.items()}
    counts = Counter(status.values())
    report(
        f"{KILLS} SIGKILLs over 2 executors, {len(commands.deadlines)} commands: acted on {len(acted)}, twice "
        f"{sum(times.values()) - len(times)}, late {len(late)}, without a receipt "
        f"{len(commands.deadlines.keys() - answered.keys())}; " + ", ".join(f"{n} {counts[n]}" for n in sorted(counts))
    )
    assert [command_id for command_id, count in times.items() if count > 1] == []
    assert late == []
    assert answered.keys() == commands.deadlines.keys()
    assert not times.keys() & commands.taken_back
    assert {command_id: values for command_id, values in answered.items() if len(values) > 1} == {}
    assert set(status.values()) <= ANSWERED
    assert {status[command_id] for command_id in times} <= {"executed", "failed", "unknown"}
    assert all(command_id in times for command_id, one in status.items() if one in ("executed", "failed"))
    # killed while they acted, and late, did happen: else this test shows nothing
    assert counts["unknown"] >= 1
    assert counts["expired"] >= 1
    assert counts["executed"] > 500


async def receipts(bootstrap: str, prefix: str) -> dict[str, set[bytes]]:
    """Every value by command id."""
    places = [TopicPartition(prefix + "receipts", n) for n in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found: dict[str, set[bytes]] = {}
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for one in records:
                    found.setdefault(json.loads(one.value)["command_id"], set()).add(one.value)
    finally:
        await consumer.stop()
    return found
