"""A worker process of these tests: a gate that follows leases, or the allocator. Wired here, from the parts."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from agents import exposure, gate
from streams.runtime import logs, topics
from streams.runtime.in_force import InForce
from streams.runtime.leases import Leases
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.process import clock_ms, die, work
from streams.runtime.settings import Kafka, Worker
from streams.runtime.world import Needs


async def run(given: argparse.Namespace) -> None:
    kafka = Kafka(given.bootstrap, given.prefix)
    partitions = (await topics.require(kafka.bootstrap, kafka.prefix)).partitions
    meter = Meter(Board.given())
    given.data.mkdir(parents=True, exist_ok=True)
    in_force = InForce(kafka, Needs.of_gate, clock_ms, meter)
    leases = Leases(kafka, partitions, clock_ms)
    if given.role == exposure.NAME:
        role = exposure.role(given.group, in_force, partitions)
    else:
        role = gate.role(given.group, in_force, leases=leases)
        following = asyncio.create_task(leases.run())
        following.add_done_callback(lambda task: task.cancelled() or die(task.exception() or RuntimeError("it ended")))
    await in_force.start()
    await work(Worker(kafka, role, given.data, partitions), meter, in_force)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    for name in ("--bootstrap", "--prefix", "--group"):
        parser.add_argument(name, required=True)
    parser.add_argument("--data", required=True, type=Path)
    arguments = parser.parse_args()
    logs.configure(arguments.role, "console")
    sys.exit(asyncio.run(run(arguments)))
