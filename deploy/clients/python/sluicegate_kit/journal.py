"""The executor's side of the store: writes of many commands in one transaction, the lease, and waiting for others.

Only commands that hold a slot are intended, and whatever waits while a transaction is written goes into the next one.
So a crash leaves at most as many commands `unknown` as were allowed to run at once, and one fsync serves many.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sluicegate_kit.clock import now_ms
from sluicegate_kit.errors import KitError, StoreTrouble
from sluicegate_kit.store import Acting, Done, Intent, Standing, Store

T = TypeVar("T")
log = logging.getLogger("sluicegate_kit")

WORK_MAX = 1000  # commands in one transaction: other instances wait for it
RETRY_S, RETRY_S_MAX = 0.01, 1.0
BEATS_A_LEASE = 4  # three may be missed
PRUNE_S = 3600.0


@dataclass(frozen=True)
class Keeping:
    """All in milliseconds. `patience_ms`: how long a store may fail before the executor ends."""

    lease_ms: int
    patience_ms: int
    keep_ms: int


class Journal:
    """One instance's view of the store. After a failure that outlasts its patience every method raises StoreTrouble."""

    def __init__(self, store: Store, owner: str, keeping: Keeping) -> None:
        self._store, self._owner, self._keeping = store, owner, keeping
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sluicegate-store")
        self._intents: dict[str, tuple[Intent, asyncio.Future[Standing]]] = {}
        self._results: dict[str, tuple[bytes, asyncio.Future[bytes]]] = {}
        self._others: dict[str, tuple[bytes, asyncio.Future[bytes | None]]] = {}
        self._work, self._waiting = asyncio.Event(), asyncio.Event()
        self._renewed_s, self._lapses = time.monotonic(), 0
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Raises KitError when the store cannot be opened."""
        try:
            await self._in_thread(self._store.open)
        except StoreTrouble as error:
            raise KitError(f"the store cannot be opened: {error}") from error
        await self._beat()
        self._tasks = [asyncio.create_task(loop()) for loop in (self._write, self._keep_beating, self._watch)]

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """None of them ends by itself; one that does has failed."""
        return self._tasks

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._in_thread(self._store.close)
        self._thread.shutdown(wait=False)

    @property
    def lease(self) -> int:
        """The lease we have now; ask for it before an intent is written."""
        return self._lapses

    def is_ours(self, lease: int) -> bool:
        """Whether that lease has held until now: nobody can have given up what was intended under it."""
        return lease == self._lapses and time.monotonic() - self._renewed_s < self._keeping.lease_ms / 1000

    async def intend(self, intent: Intent) -> Standing:
        """What stands, durably. The caller has no intent of the same command id under way."""
        future: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self._intents[intent.command_id] = (intent, future)
        self._work.set()
        return await future

    async def finish(self, command_id: str, receipt: bytes) -> bytes:
        """The receipt that stands: ours, unless somebody gave us up for crashed."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._results[command_id] = (receipt, future)
        self._work.set()
        return await future

    async def result_of(self, command_id: str, unknown: bytes) -> bytes | None:
        """Waits for another owner's receipt, or writes `unknown` once it has let its lease run out.

        None when the intent is gone: ask again.
        """
        if command_id not in self._others:
            self._others[command_id] = (unknown, asyncio.get_running_loop().create_future())
            self._waiting.set()
        return await asyncio.shield(self._others[command_id][1])

    async def _write(self) -> None:
        while True:
            await self._work.wait()
            results = dict(list(self._results.items())[:WORK_MAX])
            for command_id in results:
                del self._results[command_id]
            # an entity's next command is written with the result of its last one, never before it
            intents = {} if self._results else dict(list(self._intents.items())[:WORK_MAX])
            for command_id in intents:
                del self._intents[command_id]
            if not (self._results or self._intents):
                self._work.clear()
            finished = {command_id: receipt for command_id, (receipt, _) in results.items()}
            intended = [intent for intent, _ in intents.values()]
            stands, standings = await self._patiently(partial(self._store.exchange, self._owner, finished, intended))
            for command_id, (_, finish) in results.items():
                _set(finish, stands[command_id])
            for command_id, (_, intend) in intents.items():
                _set(intend, standings[command_id])

    async def _keep_beating(self) -> None:
        pruned_s = -PRUNE_S
        while True:
            if time.monotonic() - pruned_s >= PRUNE_S:
                pruned_s = time.monotonic()
                before_ms = now_ms() - self._keeping.keep_ms
                if count := await self._patiently(partial(self._store.prune, before_ms)):
                    log.info("forgot %d commands whose deadline is long past", count)
            await asyncio.sleep(self._keeping.lease_ms / 1000 / BEATS_A_LEASE)
            await self._beat()

    async def _beat(self) -> None:
        def beat() -> float:
            # taken before it is written: we believe in our lease for a shorter time than others do
            at_s = time.monotonic()
            self._store.beat(self._owner, self._keeping.lease_ms, now_ms())
            return at_s

        renewed_s = await self._patiently(beat)
        # others may have given us up before this beat was written, whenever it was begun
        self._lapses += time.monotonic() - self._renewed_s >= self._keeping.lease_ms / 1000
        self._renewed_s = renewed_s

    async def _watch(self) -> None:
        """Other owners' beats, looked at only while somebody waits. How long one stands still is told by our clock."""
        seen: dict[str, tuple[int, float]] = {}
        while True:
            await self._waiting.wait()
            ids = list(self._others)
            found = await self._patiently(partial(self._store.look, self._owner, ids))
            now_s = time.monotonic()
            for command_id in ids:
                unknown, future = self._others[command_id]
                standing = found.get(command_id)
                if isinstance(standing, Acting):
                    if seen.get(standing.owner, (None, 0.0))[0] != standing.beat:
                        seen[standing.owner] = (standing.beat, now_s)
                    if now_s - seen[standing.owner][1] >= standing.lease_ms / 1000:
                        log.warning("%s: given up, %s let its lease run out", command_id, standing.owner)
                        await self._patiently(partial(self._store.abandon, command_id, standing, unknown))
                    continue
                _set(future, standing.receipt if isinstance(standing, Done) else None)
                del self._others[command_id]
            if not self._others:
                seen.clear()
                self._waiting.clear()
            await asyncio.sleep(min(1.0, self._keeping.lease_ms / 1000 / BEATS_A_LEASE / 2))

    async def _patiently(self, work: Callable[[], T]) -> T:
        until_s, delay_s = time.monotonic() + self._keeping.patience_ms / 1000, RETRY_S
        while True:
            try:
                return await self._in_thread(work)
            except StoreTrouble as error:
                if time.monotonic() >= until_s:
                    raise StoreTrouble(
                        f"the store has failed for {self._keeping.patience_ms} ms, so what was acted on cannot be kept "
                        f"({error}): start again when it works"
                    ) from error
                log.warning("the store failed, trying again: %s", error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S_MAX)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _set(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
