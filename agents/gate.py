"""The gate: reads decisions and successors, decides each on the pure path, sends it out exactly one way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from schemas.lease import Demand
from streams.admission import Pace
from streams.batch import Fetched
from streams.exposure import Exposures
from streams.headers import DEFAULTS, HeaderSettings
from streams.memory import Memory, Planned
from streams.partitioning import ANYWHERE, Home
from streams.path import decide
from streams.runtime.clock import clock_ms
from streams.runtime.in_force import InForce
from streams.runtime.leases import Leases
from streams.runtime.settings import BATCH_RECORDS_MAX, Role
from streams.runtime.stage import Batch, Fill
from streams.shed_text import SHED
from streams.shedding import Admission
from streams.window import IDS_MAX, Window

NAME = "gate"
# Of a set capacity, what one transaction holds at most. More, and records wait for the rest of their batch; less, and a
# busy machine spends its time on transactions instead of shedding.
PACED_BATCH_S = 1.0


class _Decided(NamedTuple):
    """What becomes of the stage once the batch is committed. `taken`: decisions in full, for the pace."""

    planned: Planned
    demands: Mapping[bytes, Demand]
    taken: int
    now_ms: int


class GateStage:
    """One partition number of the gate: the path, and what it remembers."""

    def __init__(
        self,
        number: int,
        in_force: InForce,
        ids_max: int = IDS_MAX,
        headers: HeaderSettings = DEFAULTS,
        capacity_per_s: float | None = None,
        leases: Leases | None = None,
    ) -> None:
        self._number = number
        self._in_force = in_force
        self._headers = headers
        self._leases = leases
        exposure = Exposures() if leases is None else Exposures(number, leases.partitions)
        if leases is not None:
            exposure.leases = leases.held(number)
        home = ANYWHERE if leases is None else Home(number, leases.partitions)
        self._memory = Memory(Window(ids_max), admission=Admission(capacity_per_s), exposure=exposure, home=home)
        self.intact = True  # a batch changes nothing before it is committed
        self._decided: _Decided | None = None
        self._pace = None if capacity_per_s is None else Pace(capacity_per_s)

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        self._memory.restore(changelog, now_ms)

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Reads what is in force, and what a policy looks at: the present context, and receipts."""
        await self._in_force.complete(self._number, goes_on)
        if self._leases is not None:
            await self._leases.complete(self._in_force.snapshot.by_index, goes_on)

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Keeps to the capacity that was set: what the last batch took at once has to be waited for first."""
        if self._pace is not None and (wait_ms := self._pace.wait_ms(clock_ms())) > 0:
            await asyncio.sleep(wait_ms / 1000)

    def due_ms(self) -> int | None:
        """Nothing is due that no record asks for."""
        return None

    def decide(self, fetched: Sequence[Fetched], now_ms: int, commit_ms: int = 0) -> Batch:
        memory = self._memory
        policies, world = self._in_force.snapshot, self._in_force.world
        memory.contexts, memory.allowances_ms = world.contexts(self._number), world.allowances_ms(self._number)
        memory.commit_ms = commit_ms
        decided = decide(fetched, now_ms, policies, memory, self._headers)
        planned = memory.plan(decided.remembered, now_ms)
        window, ids_max = planned.window, memory.window.ids_max
        fill = Fill(len(memory.window), ids_max, 0) if window is None else Fill(window.size, ids_max, window.evicted)
        shed = sum(count for (_, _, reason), count in decided.counts.items() if reason == SHED)
        self._decided = _Decided(planned, decided.remembered.demands, sum(map(len, fetched)) - shed, now_ms)
        return Batch(
            [*decided.records, *decided.samples, *world.take_rejections(self._number)],
            planned.slots,
            decided.earliest_deadline_ms,
            decided.observed,
            fill,
            decided.remembered.exposed,
        )

    def committed(self) -> None:
        """What was decided is remembered, asked for and counted from now on."""
        last, self._decided = self._decided, None
        if last is None:
            return
        self._memory.apply(last.planned)
        if self._leases is not None and last.demands:
            self._leases.want(self._number, last.demands)
        if self._pace is not None:
            self._pace.take(last.taken, last.now_ms)

    def undone(self) -> bool:
        """Nothing has changed yet but what was taken of the rejections."""
        self._decided = None
        self._in_force.world.give_back(self._number)
        return True


def role(
    group: str,
    in_force: InForce,
    headers: HeaderSettings = DEFAULTS,
    ids_max: int = IDS_MAX,
    capacity_per_s: float | None = None,
    leases: Leases | None = None,
) -> Role:
    """The gate's role: both input topics, a window per partition number.

    `leases`: of exposure limits that partition numbers share; None: there is one partition number, and all is its own.
    `capacity_per_s`: how many decisions each partition number takes in full, at most; None: as many as it can.
    """
    records_max = BATCH_RECORDS_MAX
    if capacity_per_s is not None:
        records_max = min(records_max, max(1, round(capacity_per_s * PACED_BATCH_S)))
    return Role(
        NAME,
        group,
        ("decisions", "successors"),
        lambda number: GateStage(number, in_force, ids_max, headers, capacity_per_s, leases),
        records_max,
        released=in_force.drop,
    )
