"""Whose turn it is: one command of an entity at a time, in order, and no more than `concurrency` at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Lane:
    """One entity; `users` hold it or wait for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """The slots, and the lanes in use: one is forgotten when nobody is in it."""

    def __init__(self, concurrency: int) -> None:
        self.slots = asyncio.Semaphore(concurrency)
        self.lanes: dict[str, Lane] = {}


class Turn:
    """An entity and a slot, held until given back: a function past its limit keeps both while it still runs."""

    def __init__(self, turns: Turns, entity: str) -> None:
        self._turns, self._entity = turns, entity
        self._lane = turns.lanes.setdefault(entity, Lane())
        self._lane.users += 1
        self._has_lane = self._has_slot = self._released = False
        self.is_kept = False  # by something that still runs and will release it

    @property
    def is_free(self) -> bool:
        """Whether `take` would not wait."""
        return not (self._lane.lock.locked() or self._turns.slots.locked())

    async def take(self) -> None:
        """First come, first served. Whatever of it was taken when it is cancelled, `release` gives back."""
        await self._lane.lock.acquire()
        self._has_lane = True
        await self._turns.slots.acquire()
        self._has_slot = True

    def release_slot(self) -> None:
        """Gives back the slot and keeps the entity."""
        if self._has_slot:
            self._has_slot = False
            self._turns.slots.release()

    def release(self) -> None:
        """Gives back everything; a second time does nothing."""
        if self._released:
            return
        self._released = True
        self.release_slot()
        if self._has_lane:
            self._lane.lock.release()
        self._lane.users -= 1
        if self._lane.users == 0:
            del self._turns.lanes[self._entity]
