"""Exposure limits while gates and the allocator are killed at random: counted from the topics, none is exceeded."""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.faults.conftest import Report
from tests.faults.fleet import PARTITIONS, POLICY, Fleet
from tests.faults.load import Load
from tests.faults.stranger import ours
from tests.kafka.harness import Child, seed

pytestmark = pytest.mark.faults

GATES = 3
FOR_S = 100.0
UNDISTURBED_S = 40.0
KILL_EVERY_S = (3.0, 9.0)
COUNT, SUM, ENTITY = 1_000, 60_000_000, 8
LIMITS = {  # window_ms and limit of each
    "commands": (10_000, COUNT),
    "value": (20_000, SUM),
    "entity": (10_000, ENTITY),
}
EXPOSURE = f"""\
  exposure:
    - {{name: commands, window: 10s, count_at_most: {COUNT}}}
    - {{name: value, window: 20s, per: [action_type], value_minor_at_most: {SUM}, currency: EUR}}
    - {{name: entity, window: 10s, per: [entity], count_at_most: {ENTITY}, then: block}}
"""


def test_no_limit_is_exceeded_when_gates_and_the_allocator_are_killed(fleet: Fleet, report: Report) -> None:
    killed = _run(fleet, FOR_S, KILL_EVERY_S)
    _judge(fleet, report, f"killed {dict(killed)}")
    assert killed["gate"] >= 5
    assert killed["exposure"] >= 2


def test_an_undisturbed_load_on_all_partitions_uses_the_whole_of_a_shared_limit(fleet: Fleet, report: Report) -> None:
    _run(fleet, UNDISTURBED_S, (UNDISTURBED_S, UNDISTURBED_S))
    used = _judge(fleet, report, "undisturbed")
    assert 1 in used["commands"]  # to the last command, in some window


def _run(fleet: Fleet, for_s: float, kill_every_s: tuple[float, float]) -> Counter[str]:
    """A load, and kills by role."""
    (fleet.policies / "payout.yaml").write_text(POLICY + EXPOSURE)
    seed(fleet.bootstrap, fleet.prefix, fleet.policies)
    rnd, killed = random.Random(5), Counter[str]()
    with ExitStack() as stack:
        running = [stack.enter_context(_started(fleet, role)) for role in ["exposure", *["gate"] * GATES]]
        with Load(fleet, "exposure"):
            fleet.wait_for_progress()
            end_s = time.monotonic() + for_s
            while (left_s := end_s - time.monotonic()) > 0:
                pause_s = rnd.uniform(*kill_every_s)
                time.sleep(min(pause_s, left_s))
                if pause_s >= left_s:
                    break
                at = rnd.randrange(len(running))
                role = "gate" if at else "exposure"
                running[at].process.kill()
                running[at].process.wait()
                killed[role] += 1
                running[at] = stack.enter_context(_started(fleet, role))
        fleet.wait_until_done()
    return killed


def _judge(fleet: Fleet, report: Report, how: str) -> dict[str, list[float]]:
    """What was used of each limit by each account, as shares of it, rising; none may be over 1."""
    verdict = fleet.audit()
    used = asyncio.run(_used(fleet.bootstrap, fleet.prefix + "commands"))
    report(f"{how}; {verdict['inputs']} inputs, missing {verdict['missing']}, duplicates {verdict['duplicates']}")
    shares = {name: sorted(one / limit for one in used[name].values()) for name, (_, limit) in LIMITS.items()}
    for name, found in shares.items():
        report(
            f"{name}: {len(found)} accounts; of the limit was used: median {statistics.median(found):.3f}, max "
            f"{found[-1]:.3f}; the highest: {' '.join(f'{one:.2f}' for one in found[-12:])}"
        )
        assert found[-1] <= 1
    return shares


def _started(fleet: Fleet, role: str) -> Child:
    name = f"{role}-{time.monotonic_ns()}"
    module = [sys.executable, "-m", "agents.worker", role]
    arguments = [f"--bootstrap={fleet.bootstrap}", f"--prefix={fleet.prefix}", f"--group={fleet.prefix}{role}"]
    return Child([*module, *arguments], fleet.folder / f"{name}.log")


async def _used(bootstrap: str, topic: str) -> dict[str, Counter[Any]]:
    """What ran without a person, by limit and account, from the commands as a reader of committed records sees them."""
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    used: dict[str, Counter[Any]] = {name: Counter() for name in LIMITS}
    await consumer.start()
    try:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(one) < ends[one] for one in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for one in records:
                    if (command := ours(one.value)) is not None:
                        _count(used, command)
    finally:
        await consumer.stop()
    return used


def _count(used: dict[str, Counter[Any]], command: dict[str, Any]) -> None:
    assert command["authority"] == "autonomous"
    windows = {name: command["gated_at_ms"] // window_ms for name, (window_ms, _) in LIMITS.items()}
    used["commands"][windows["commands"]] += 1
    used["value"][windows["value"], command["action"]["type"]] += abs(command["value_minor"])
    used["entity"][windows["entity"], command["entity"]] += 1
