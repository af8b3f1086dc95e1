"""The rounds: our worker and the bare loop in alternation, each over a backlog and at a steady rate, after a warm-up.

What runs first in a round changes from round to round, so that neither always finds the broker as the other left it.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from streams.runtime.broker.jars import kafka_version
from tests.bench import latency, throughput
from tests.bench.process import Meter, Place

PARTITIONS = 4
WARM_EVENTS = 100_000  # a new JVM compiles for its first seconds; what is measured then is its compiler


class Kafka(Protocol):
    """A running broker of this machine."""

    @property
    def bootstrap(self) -> str: ...
    @property
    def pid(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How much: `count` decisions a backlog, `rate_per_s` for `seconds`, all of it `rounds` times."""

    count: int
    rounds: int
    rate_per_s: int = 1_000
    seconds: int = 20
    seed: int = 7
    warm_count: int = WARM_EVENTS
    names: tuple[str, ...] = ("ours", "bare")  # of `process.COMMANDS`: the first is compared with the second

    def steps(self) -> list[tuple[int, str]]:
        """(round, who), in order; round 0 is the warm-up, whose figures are thrown away."""
        names = list(self.names)
        turned = [names if one % 2 else names[::-1] for one in range(1, self.rounds + 1)]
        warming = names if self.warm_count else []
        return [(0, name) for name in warming] + [(one + 1, name) for one, order in enumerate(turned) for name in order]


@dataclass(frozen=True, slots=True)
class Run:
    """What one of them did in one round."""

    round: int
    name: str
    throughput: throughput.Throughput
    latency: latency.Latency

    def figures(self) -> dict[str, float]:
        return {**asdict(self.throughput), **asdict(self.latency)}


class Told(Protocol):
    """Whoever shows progress: `begin` a stretch of so many decisions, `done` of them so far, and lines to keep."""

    def begin(self, what: str, count: int) -> None: ...
    def done(self, count: int) -> None: ...
    def line(self, text: str) -> None: ...


class Bench:
    """One broker, measured on again and again."""

    def __init__(self, plan: Plan, kafka: Kafka, told: Told) -> None:
        assert kafka.pid is not None, "the broker runs on this machine"
        self._plan, self._told = plan, told
        self._bootstrap, self._broker = kafka.bootstrap, Meter(kafka.pid)

    def run(self) -> list[Run]:
        """All rounds. Raises CheckFailed at the first wrong output: none are better than those of a broken gate."""
        runs = []
        for number, name in self._plan.steps():
            if not number:
                self._backlog("warm-up", name, self._plan.warm_count)
                continue
            title = f"round {number} of {self._plan.rounds}"
            over = self._backlog(title, name, self._plan.count)
            steady = self._steady(title, name)
            runs.append(Run(number, name, over, steady))
            self._told.line(
                f"round {number}  {name}  {over.events_per_s:>9,.0f} events/s  {over.cpu_s_per_million:5.1f} CPU s a "
                f"million  p50 {steady.p50_ms:.1f} ms  p99 {steady.p99_ms:.1f} ms  missing 0, duplicates 0"
            )
        return runs

    def _backlog(self, title: str, name: str, count: int) -> throughput.Throughput:
        self._told.begin(f"{title}, {name}: {count:,} decisions", count)
        with self._place() as place:
            return asyncio.run(throughput.measure(name, place, count, self._plan.seed, self._broker, self._told.done))

    def _steady(self, title: str, name: str) -> latency.Latency:
        plan = self._plan
        count = latency.HEAD + plan.rate_per_s * (latency.WARM_S + plan.seconds)
        self._told.begin(f"{title}, {name}: {plan.rate_per_s:,}/s for {plan.seconds} s", count)
        with self._place() as place:
            return asyncio.run(latency.measure(name, place, plan.rate_per_s, plan.seconds, plan.seed, self._told.done))

    @contextmanager
    def _place(self) -> Iterator[Place]:
        """Topics, group and folder of one run's own."""
        with tempfile.TemporaryDirectory(prefix="sluicegate-bench-") as folder:
            yield Place(self._bootstrap, f"bench-{secrets.token_hex(4)}.", PARTITIONS, Path(folder))


def environment() -> dict[str, Any]:
    """What figures are to be compared with: the machine they come from."""
    return {
        "processors": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "kafka": kafka_version(),
    }
