"""Events a second, CPU and memory over a backlog: decisions written beforehand, then the clock of what readers see.

Watched from outside, 20 times a second: how far a read_committed reader may read. Asking that costs nothing, while
reading along would take what is measured away from it; what is there is read, and judged, afterwards.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.check import Answers
from tests.bench.job import make
from tests.bench.process import Meter, Peer, Place, machine_cpu_s
from tests.bench.traffic import Outputs, fill, own_topics

EVERY_S = 0.05
START_S = 90.0
STALLED_S = 60.0
SETTLED_S = 0.5  # all is committed and nothing has moved for so long: this was the last of it


@dataclass(frozen=True, slots=True)
class Throughput:
    events_per_s: float
    cpu_s_per_million: float
    broker_cpu_s_per_million: float
    peak_rss_mb: float
    other_cores: float  # what the rest of the machine was busy with: neither of them, nor this harness
    started_s: float  # from its start to the first output


@dataclass(frozen=True, slots=True)
class Sample:
    at_s: float
    visible: int
    cpu_s: float
    broker_cpu_s: float
    rest_cpu_s: float


class Watch:
    """Samples of one run, from its start to the last output."""

    def __init__(self, peer: Peer, outputs: Outputs, broker: Meter) -> None:
        self._peer, self._outputs, self._broker = peer, outputs, broker
        self._own = Meter(os.getpid())
        self.samples: list[Sample] = []

    async def until(self, count: int, tell: Callable[[int], None]) -> None:
        """Returns when `count` decisions are answered. Raises CheckFailed when it dies, stalls or never starts."""
        began_s = moved_s = time.monotonic()
        while True:
            sample = await self._sample()
            if not self.samples or sample.visible > self.samples[-1].visible:
                moved_s = sample.at_s
            self.samples.append(sample)
            tell(min(count, sample.visible))
            self._peer.require_alive()
            still_s = sample.at_s - moved_s
            if sample.visible >= count and still_s > SETTLED_S and await self._outputs.answered() >= count:
                return
            if not sample.visible and sample.at_s - began_s > START_S:
                raise self._peer.failed(f"wrote nothing for {START_S:g} s after its start")
            if sample.visible and still_s > STALLED_S:
                raise self._peer.failed(f"wrote nothing for {STALLED_S:g} s, at {sample.visible} of {count}")
            await asyncio.sleep(EVERY_S)

    async def _sample(self) -> Sample:
        visible = await self._outputs.visible()
        cpu_s, broker_cpu_s = self._peer.meter.cpu_s(), self._broker.cpu_s()
        rest_cpu_s = machine_cpu_s() - cpu_s - broker_cpu_s - self._own.cpu_s()
        return Sample(time.monotonic(), visible, cpu_s, broker_cpu_s, rest_cpu_s)


def figures(samples: list[Sample], count: int, peak_rss_bytes: int) -> Throughput:
    """From the sample that first saw an output to the one that first saw the last; not in it: start and joining."""
    first = next(index for index, one in enumerate(samples) if one.visible)
    last = next(index for index, one in enumerate(samples) if one.visible == samples[-1].visible)
    seen = min(samples[first].visible, count)
    if last == first:  # all of it between two samples: then it took at most what lies between them
        first, seen = max(0, first - 1), 0
    begin, end = samples[first], samples[last]
    events, took_s = max(1, count - seen), max(end.at_s - begin.at_s, 1e-3)
    return Throughput(
        events_per_s=events / took_s,
        cpu_s_per_million=(end.cpu_s - begin.cpu_s) / events * 1e6,
        broker_cpu_s_per_million=(end.broker_cpu_s - begin.broker_cpu_s) / events * 1e6,
        peak_rss_mb=peak_rss_bytes / 2**20,
        other_cores=max(0.0, end.rest_cpu_s - begin.rest_cpu_s) / took_s,
        started_s=begin.at_s - samples[0].at_s,
    )


async def measure(
    name: str, place: Place, count: int, seed: int, broker: Meter, tell: Callable[[int], None]
) -> Throughput:
    """One run over a backlog of `count` decisions. Raises CheckFailed when an output is missing, twice or wrong."""
    load = make(count, time.time_ns() // 1_000_000, seed)
    async with own_topics(place):
        await fill(place, load, range(count))
        async with Outputs(place) as outputs:
            with Peer(name, place) as peer:
                watch = Watch(peer, outputs, broker)
                await watch.until(count, tell)
            answers = Answers(load.outputs)
            async for output, value in outputs.read_to_the_end():
                answers.add(output, value)
    answers.verdict().require(f"{name}, {count} decisions")
    return figures(watch.samples, count, peer.meter.peak_rss_bytes)
