"""Health: once a second, what this process has, what it waits for, and how far behind it is.

Ready means: it has its partitions (or the group has answered that there are none for it), it has its policies, and it
makes progress. Policies are read before any of this starts, so whoever reports at all has some; one that it cannot use
is waited for, while the last good one stays in force. Waiting is not being
stuck: the watchdog ends what is stuck, and later than this; here is said early what is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streams.runtime.clock import Clock
from streams.runtime.in_force import InForce
from streams.runtime.lane import Lane
from streams.runtime.lanes import Lanes
from streams.runtime.metrics import Meter
from streams.runtime.watchdog import Watchdog

REPORT_S = 1.0
IDLE_MAX = 10  # reports with work to do and none done: a third of what the watchdog calls stuck


@dataclass(slots=True)
class Health:
    """Reports to the board; looks at lanes and watchdog and changes nothing there."""

    lanes: Lanes
    watchdog: Watchdog
    in_force: InForce
    meter: Meter
    clock_ms: Callable[[], int]
    clock: Clock | None = None  # where it is held against the broker's
    _idle: dict[int, tuple[int, int]] = field(default_factory=dict)  # by partition: its progress, seen how often
    _silent_ms: int | None = None  # since when the broker does not answer
    _shown: dict[int, tuple[str, ...]] = field(default_factory=dict)  # partitions with gauges, and their inputs

    async def run(self) -> None:
        while True:
            self.report()
            await asyncio.sleep(REPORT_S)

    def report(self) -> None:
        """Sets the gauges and says what is waited for."""
        lanes = {lane.number: lane for lane in self.lanes}
        waits = self._waits(lanes)
        self._gauges(lanes)
        if self.clock is not None:
            self.meter.gauge("clocks_apart", int(self.clock.apart))
        self.meter.board.report({"ready": not waits, "partitions": sorted(lanes), "waits": waits})

    def _waits(self, lanes: dict[int, Lane]) -> list[dict[str, Any]]:
        """Each thing that is waited for, with its partition where it is a partition that waits."""
        waits: list[dict[str, Any]] = []
        if not self.watchdog.answers:
            waits.append({"for": f"the broker at {self.lanes.worker.kafka.bootstrap}"})
        elif self.in_force.deaf is not None:
            waits.append({"for": self.in_force.deaf})
        if self.clock is not None and (doubt := self.clock.trouble()) is not None:
            waits.append({"for": doubt})
        if not self.lanes.assigned:
            waits.append({"for": f"the group {self.lanes.worker.role.group} to assign partitions"})
        waits += [{"for": f"a policy that can be used: {trouble}"} for trouble in self.in_force.troubles]
        self._idle = {number: self._look(lane) for number, lane in lanes.items()}
        for number, lane in sorted(lanes.items()):
            if lane.waits_for is not None:
                waits.append({"partition": number, "for": lane.waits_for})
            elif lane.state != "open":
                waits.append({"partition": number, "for": "its hand-over"})
            elif self._idle[number][1] >= IDLE_MAX:
                waits.append({"partition": number, "for": f"progress: it has work and did none in {IDLE_MAX} s"})
        return waits

    def _look(self, lane: Lane) -> tuple[int, int]:
        progress, times = self._idle.get(lane.number, (None, 0))
        return lane.progress, times + 1 if lane.busy and lane.progress == progress else 0

    def _gauges(self, lanes: dict[int, Lane]) -> None:
        now_ms, meter, role = self.clock_ms(), self.meter, self.lanes.worker.role
        for number in self._shown.keys() - lanes.keys():
            for name in ("lag_seconds", "last_commit_timestamp_seconds", "window_ids", "broker_clock_offset_seconds"):
                meter.gauge(name, None, str(number))
            for input_ in self._shown[number]:
                meter.gauge("lag_offsets", None, input_, str(number))
        self._shown = dict.fromkeys(lanes, role.inputs)
        if self.watchdog.answers:
            self._silent_ms = None
        elif self._silent_ms is None:
            self._silent_ms = now_ms
        meter.gauge("partitions", len(lanes))
        for number, lane in lanes.items():
            since_ms = [one for one in (lane.waits_since_ms, self._silent_ms) if one is not None]
            lag_ms = max(0, now_ms - min(since_ms, default=now_ms))
            meter.gauge("lag_seconds", lag_ms / 1000, str(number))
            for input_, partition in zip(role.inputs, lane.partitions, strict=True):
                position, end = lane.position(partition), self.watchdog.ends.get(partition)
                lag = None if position is None or end is None else max(0, end - position)
                meter.gauge("lag_offsets", lag, input_, str(number))
