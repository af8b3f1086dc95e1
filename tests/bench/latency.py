"""Latency at a steady rate: from just before a decision is sent to a read_committed reader having its answer.

Sender and reader are two processes with one clock; the time of sending travels inside the decision. Sender and reader
themselves, and the broker, are in every figure.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streams.errors import CheckFailed
from streams.runtime.children import PIPE, start
from tests.bench.check import Answers
from tests.bench.job import Load, make
from tests.bench.process import HOME, Peer, Place
from tests.bench.traffic import Outputs, fill, own_topics

HEAD = 200  # decisions waiting at its start: it is ready when they are answered
WARM_S = 2
START_S = 90.0
REST_S = 30.0  # for what is left when the last was sent
SENT_US = re.compile(rb'sent_us\\?":(\d{16})')


@dataclass(frozen=True, slots=True)
class Latency:
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    cores: float  # that it was busy with at this rate
    sender_late_ms_max: float  # how far the sender fell behind its own clock: it should be small


def at_share(rising: Sequence[float], share: float) -> float:
    """The value that so great a share does not exceed."""
    return rising[max(0, math.ceil(share * len(rising)) - 1)]


class Reading:
    """Reads answers and takes their times until a count is reached."""

    def __init__(self, peer: Peer, outputs: Outputs, load: Load, measured_from: int) -> None:
        self._peer, self._outputs, self._from = peer, outputs, measured_from
        self.answers = Answers(load.outputs)
        self.taken_ms: list[float] = []

    async def until(self, count: int, within_s: float, tell: Callable[[int], None]) -> None:
        """Raises CheckFailed when they do not come in that time."""
        end_s = time.monotonic() + within_s
        while self.answers.count < count:
            if time.monotonic() > end_s:
                raise self._peer.failed(f"answered {self.answers.count} of {count} decisions in {within_s:g} s")
            self._peer.require_alive()
            found = await self._outputs.read(100)
            now_us = time.time_ns() // 1000
            for output, value in found:
                number = self.answers.add(output, value)
                if number is not None and number >= self._from and (sent := SENT_US.search(value)):
                    self.taken_ms.append((now_us - int(sent[1])) / 1000)
            tell(self.answers.count)


async def measure(
    name: str, place: Place, rate_per_s: int, seconds: int, seed: int, tell: Callable[[int], None]
) -> Latency:
    """One run at a steady rate. Raises CheckFailed when an answer is missing, twice or wrong."""
    measured_from = HEAD + rate_per_s * WARM_S
    count = measured_from + rate_per_s * seconds
    load = make(count, time.time_ns() // 1_000_000, seed)
    async with own_topics(place), Outputs(place) as outputs:
        await fill(place, load, range(HEAD))
        with Peer(name, place) as peer:
            reading = Reading(peer, outputs, load, measured_from)
            await reading.until(HEAD, START_S, tell)
            sending = asyncio.create_task(_send(place, load, count, rate_per_s, seed))
            try:
                await reading.until(measured_from, START_S, tell)
                began_s, before_s = time.monotonic(), peer.meter.cpu_s()
                await reading.until(count, seconds + REST_S, tell)
                cores = (peer.meter.cpu_s() - before_s) / (time.monotonic() - began_s)
                late_ms_max = await sending
            finally:
                sending.cancel()
        async for output, value in outputs.read_to_the_end():  # a second answer, if there is one
            reading.answers.add(output, value)
    reading.answers.verdict().require(f"{name}, {rate_per_s} decisions a second")
    taken_ms = sorted(reading.taken_ms)
    return Latency(
        p50_ms=at_share(taken_ms, 0.5),
        p90_ms=at_share(taken_ms, 0.9),
        p99_ms=at_share(taken_ms, 0.99),
        max_ms=taken_ms[-1],
        cores=cores,
        sender_late_ms_max=late_ms_max,
    )


async def _send(place: Place, load: Load, count: int, rate_per_s: int, seed: int) -> float:
    """Runs the sender to its end; returns by how many ms it was late at most. Raises CheckFailed."""
    arguments = [place.bootstrap, place.topic("decisions"), count, load.made_ms, seed, HEAD, rate_per_s]
    sender = start([sys.executable, "-m", "tests.bench.sender", *map(str, arguments)], cwd=HOME, stdout=PIPE)
    assert sender.stdout is not None
    with sender.stdout:
        try:
            code = await sender.ended()
        finally:
            sender.kill()
        said = sender.stdout.read()
    if code:
        raise CheckFailed(f"the sender of the latency run ended with code {code}; its error stands above")
    return float(json.loads(said)["late_ms_max"])
