"""Overload in virtual time, through the real path: `python -m tests.bench.overload [--budget-s 10] [--svg FILE]`.

A gate that decides 2,000/s is offered more. Shown are the value that it issues in time against an oracle's, the age of
its queue, and the share that it decides in full. Nothing here depends on the machine: the clock is a number.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streams.batch import Fetched
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.shed_text import SHED
from streams.shedding import Admission
from tests.bench.oracle import best
from tests.bench.overload_plot import Point, plot
from tests.streams.making import NOW_MS, policy

CAPACITY_PER_S = 2_000
BATCH_S = 1.0  # of the capacity, as the gate takes at once when it has one
RULE = {"name": "all", "then": "autonomous"}


class Phase(NamedTuple):
    """So long, so many a second."""

    seconds: float
    per_s: float


SHAPES = {
    "3x for 60 s": (Phase(60, 6_000),),
    "0.5x, 3x, 0.5x": (Phase(15, 1_000), Phase(30, 6_000), Phase(30, 1_000)),
    "a burst, 3x for 1 s": (Phase(10, 1_000), Phase(1, 6_000), Phase(10, 1_000)),
}


@dataclass(frozen=True, slots=True)
class Traffic:
    """Decisions by number: when the broker had them, observed them, until when they count; from 0, in milliseconds."""

    arrivals_ms: list[int]
    observed_ms: list[int]
    deadlines_ms: list[int]
    expires_ms: list[int | None]
    values: list[int]

    def record(self, number: int) -> bytes:
        expires_ms = self.expires_ms[number]
        return json.dumps(
            {
                "id": f"d-{number}",
                "workflow": "billing",
                "entity": f"acct-{number % 5000}",
                "action": {"type": "invoice.post", "invoice": f"i-{number}"},
                "observed_at_ms": NOW_MS + self.observed_ms[number],
                "value_minor": self.values[number],
                "currency": "USD",
                **({} if expires_ms is None else {"expires_at_ms": NOW_MS + expires_ms}),
            }
        ).encode()


class Tick(NamedTuple):
    """One batch: when, how old the queue was, how many came of it and how many were decided in full."""

    now_ms: int
    age_ms: int
    size: int
    full: int


@dataclass(frozen=True, slots=True)
class Run:
    """What one run did. Values are in minor units."""

    ticks: list[Tick]
    issued_value: int
    oracle_value: int
    shed: int
    late: int

    @property
    def ratio(self) -> float:
        return self.issued_value / self.oracle_value


def traffic(shape: Sequence[Phase], budget_ms: int, values: str = "lognormal", seed: int = 7) -> Traffic:
    """Poisson arrivals. Decisions are up to 0.3 of the budget old when they come, and a third expires earlier."""
    rnd = np.random.default_rng(seed)
    parts, start_s = [], 0.0
    for phase in shape:
        parts.append(np.sort(rnd.uniform(start_s, start_s + phase.seconds, round(phase.seconds * phase.per_s))))
        start_s += phase.seconds
    arrivals = (np.concatenate(parts) * 1000).astype(np.int64)
    count = len(arrivals)
    observed = arrivals - (rnd.uniform(0, 0.3, count) * budget_ms).astype(np.int64)
    expires = observed + (rnd.uniform(0.5, 1, count) * budget_ms).astype(np.int64)
    own = rnd.uniform(0, 1, count) < 1 / 3
    deadlines = np.where(own, expires, observed + budget_ms)
    worth = rnd.lognormal(8, 1, count) if values == "lognormal" else rnd.uniform(1, 10_000, count)
    return Traffic(
        arrivals.tolist(),
        observed.tolist(),
        deadlines.tolist(),
        [at if has else None for at, has in zip(expires.tolist(), own.tolist(), strict=True)],
        np.maximum(worth.astype(np.int64), 1).tolist(),
    )


def run(
    given: Traffic, budget_ms: int, capacity_per_s: float = CAPACITY_PER_S, start: float = 0.25, sheds: bool = True
) -> Run:
    """Decides it all at the set capacity. A command counts as issued when its batch has taken its time."""
    terms = policy([RULE], budget=f"{budget_ms}ms", overload={"start": start} if sheds else None)
    policies, memory = Snapshot([terms]), Memory(admission=Admission(capacity_per_s))
    most = round(capacity_per_s * BATCH_S)
    arrivals = np.array(given.arrivals_ms)
    ticks, issued, counted = list[Tick](), 0, {SHED: 0, "stale.age": 0, "stale.expired": 0}
    first, now_ms, busy_ms = 0, 0, 0.0
    while first < len(arrivals):
        now_ms = max(now_ms, int(arrivals[first]) + 1)
        last = min(int(np.searchsorted(arrivals, now_ms, "left")), first + most)
        numbers = range(first, last)
        batch = Fetched(
            topic="t.decisions",
            input="decisions",
            partition=0,
            offsets=list(numbers),
            timestamps_ms=[NOW_MS + given.arrivals_ms[number] for number in numbers],
            keys=[b"acct-%d" % (number % 5000) for number in numbers],
            values=[given.record(number) for number in numbers],
            broker_time=True,
            read_ms=NOW_MS + now_ms,
        )
        found = decide([batch], NOW_MS + now_ms, policies, memory)
        memory.commit(found.remembered, NOW_MS + now_ms)
        for (_, _, reason), count in found.counts.items():
            counted[reason] = counted.get(reason, 0) + count
        full = len(numbers) - sum(count for (_, _, reason), count in found.counts.items() if reason == SHED)
        ticks.append(Tick(now_ms, now_ms - given.arrivals_ms[last - 1], len(numbers), full))
        busy_ms += full / capacity_per_s * 1000
        now_ms, busy_ms = now_ms + int(busy_ms), busy_ms % 1
        for number, sent in zip(numbers, found.records, strict=True):
            if sent.output == "commands" and now_ms <= given.deadlines_ms[number]:
                issued += given.values[number]
        first = last
    oracle = best(given.arrivals_ms, given.deadlines_ms, given.values, capacity_per_s)
    return Run(ticks, issued, oracle, counted[SHED], counted["stale.age"] + counted["stale.expired"])


def by_second(ticks: Sequence[Tick]) -> list[Point]:
    """What there is to draw, for each half second with a batch."""
    found: dict[int, list[Tick]] = {}
    for tick in ticks:
        found.setdefault(tick.now_ms // 500, []).append(tick)
    return [
        Point(
            half / 2,
            max(one.age_ms for one in own) / 1000,
            sum(one.full for one in own) / sum(one.size for one in own),
        )
        for half, own in sorted(found.items())
    ]


def wobble(ticks: Sequence[Tick]) -> float:
    """By how much the share goes up and down again, from one second to the next, on average while anything is shed.

    A policy that admits all and nothing by turns has 1; a smooth rise or fall has 0.
    """
    shares = [point.share for point in by_second(ticks)[::2]]
    turns = [
        min(abs(b - a), abs(c - b)) if (b - a) * (c - b) < 0 else 0.0
        for a, b, c in zip(shares, shares[1:], shares[2:], strict=False)
        if min(a, b, c) < 1
    ]
    return float(np.mean(turns)) if turns else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--budget-s", type=float, nargs="*", default=[10.0], help="freshness budgets (default: 10)")
    parser.add_argument("--values", choices=("lognormal", "uniform"), default="lognormal")
    parser.add_argument("--scale", type=float, default=1, help="of capacity and load, for a quick look (default: 1)")
    parser.add_argument("--svg", type=Path, help="a folder for the plots, one a line of the table")
    given = parser.parse_args()
    print(f"{'load':<20}{'budget':>8}{'in time':>9}{'no shedding':>13}{'shed':>9}{'late':>7}{'oldest':>8}{'wobble':>8}")
    for name, shape in SHAPES.items():
        for budget_s in given.budget_s:
            capacity_per_s, budget_ms = CAPACITY_PER_S * given.scale, round(budget_s * 1000)
            scaled = [Phase(phase.seconds, phase.per_s * given.scale) for phase in shape]
            made = traffic(scaled, budget_ms, given.values)
            found = run(made, budget_ms, capacity_per_s)
            plain = run(made, budget_ms, capacity_per_s, sheds=False)
            print(
                f"{name:<20}{budget_s:>7g}s{found.ratio:>9.1%}{plain.ratio:>13.1%}{found.shed:>9}{found.late:>7}"
                f"{max(tick.age_ms for tick in found.ticks) / 1000:>7.1f}s{wobble(found.ticks):>8.3f}",
                flush=True,
            )
            if given.svg:
                given.svg.mkdir(parents=True, exist_ok=True)
                slug = "".join(char if char.isalnum() or char == "." else "-" for char in f"{name}-{budget_s:g}s")
                title = (
                    f"{name} of {capacity_per_s:,.0f}/s, budget {budget_s:g} s: {found.ratio:.1%} of the oracle's value"
                )
                (given.svg / f"overload-{slug}.svg").write_text(plot(title, by_second(found.ticks)))


if __name__ == "__main__":
    main()
