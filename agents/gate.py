"""The gate: reads decisions and successors, decides each on the pure path, sends it out exactly one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streams.batch import Fetched
from streams.headers import DEFAULTS, HeaderSettings
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.runtime.app import stream_topic
from streams.runtime.lanes import Lanes
from streams.runtime.settings import Role, Worker
from streams.runtime.stage import Batch, Fill
from streams.runtime.world import World
from streams.window import IDS_MAX, Window

NAME = "gate"


class GateStage:
    """One partition number of the gate: the path, and what it remembers."""

    def __init__(
        self, number: int, policies: Snapshot, world: World, ids_max: int = IDS_MAX, headers: HeaderSettings = DEFAULTS
    ) -> None:
        self._number = number
        self._policies = policies
        self._world = world
        self._headers = headers
        self._memory = Memory(Window(ids_max))

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        self._memory.restore(changelog, now_ms)

    async def learn(self, goes_on: Callable[[], None]) -> None:
        """Reads what a policy looks at: the present context, and receipts."""
        await self._world.complete(self._number, goes_on)
        self._memory.contexts = self._world.contexts(self._number)

    async def prepare(self, fetched: Sequence[Fetched]) -> None:
        """Nothing to wait for."""

    def decide(self, fetched: Sequence[Fetched], now_ms: int) -> Batch:
        memory, window = self._memory, self._memory.window
        memory.allowances_ms = self._world.allowances_ms(self._number)
        decided, evicted = decide(fetched, now_ms, self._policies, memory, self._headers), window.evicted
        changelog = memory.commit(decided.remembered, now_ms)
        fill = Fill(len(window), window.ids_max, window.evicted - evicted)
        records = [*decided.records, *self._world.take_rejections(self._number)]
        return Batch(records, changelog, decided.earliest_deadline_ms, decided.observed, fill)


def role(group: str, policies: Snapshot, world: World, ids_max: int = IDS_MAX, cloudevents: bool = True) -> Role:
    """The gate's role: both input topics, a window per partition number."""
    headers = HeaderSettings(group, cloudevents)
    return Role(
        NAME,
        group,
        ("decisions", "successors"),
        lambda number: GateStage(number, policies, world, ids_max, headers),
        released=world.drop,
    )


def wire(app: Any, worker: Worker, lanes: Lanes) -> None:
    """Puts the gate's agent on the app. The lanes decide and send; the agent only hands them what has come."""

    async def gate(stream: Any) -> None:
        async for delivered in stream:
            lanes.offer(delivered)

    app.agent(stream_topic(app, worker), name=NAME)(gate)
