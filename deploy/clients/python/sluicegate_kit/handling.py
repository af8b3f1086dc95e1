"""What becomes of one command, from its arrival to the bytes of its receipt. The one place where an action starts.

In this order: its entity's turn and a slot; its intent, durably; is it still ours, is it halted, may it, is it still in
time and not halted meanwhile; act; its result, durably. A deadline that comes while it waits ends the waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from sluicegate_kit.acting import Acting, Ended, Halted
from sluicegate_kit.journal import Journal
from sluicegate_kit.records import Command, receipt_of
from sluicegate_kit.store import Done, Intent, New
from sluicegate_kit.turns import Turn, Turns

log = logging.getLogger("sluicegate_kit")

WAIT_S_MAX = 60.0  # then the clock is read again: it may have been set

# asked immediately before acting; a sentence refuses
MayAct = Callable[[Command], str | None]
# tells whether the handling may be cancelled now, nothing being lost
Hold = Callable[[bool], None]


@dataclass(frozen=True)
class Means:
    """What a command meets on its way. Times in milliseconds."""

    journal: Journal
    acting: Acting
    turns: Turns
    halted: Halted
    may_act: MayAct
    clock: Callable[[], int]
    executor: str
    time_limit_ms: int
    margin_ms: int


class Handling:
    """Settles commands; one that is delivered again while it is under way shares its receipt."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        self._cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def cut(self) -> None:
        """What runs is given up now, as if its time limit had come."""
        if not self._cut.done():
            self._cut.set_result(None)

    async def settle(self, command: Command, hold: Hold) -> bytes:
        """The receipt that stands. Raises what the journal raises; then the command has not been answered."""
        while True:
            turn = Turn(self._means.turns, command.entity)
            try:
                await self._wait(command, turn)
            except BaseException:
                turn.release()
                raise
            # nothing is awaited between this question and its answer: one id is never twice under way here
            if (other := self._under_way.get(command.command_id)) is not None:
                turn.release()
                await asyncio.wait({other})
                if other.cancelled():
                    continue
                return other.result()
            hold(True)
            mine = self._under_way[command.command_id] = asyncio.get_running_loop().create_future()
            try:
                receipt = await self._settle(command, turn, hold)
                if receipt is not None:
                    mine.set_result(receipt)
                    return receipt
            finally:
                hold(False)
                mine.cancel()  # does nothing to one that has its result
                del self._under_way[command.command_id]

    def _late(self, command: Command) -> bool:
        return self._means.clock() >= command.deadline_ms - self._means.margin_ms

    async def _wait(self, command: Command, turn: Turn) -> None:
        """Returns with the turn, or without it when the deadline has come."""
        if turn.is_free:
            await turn.take()
            return
        taking = asyncio.create_task(turn.take())
        try:
            while not taking.done() and not self._late(command):
                left_s = (command.deadline_ms - self._means.margin_ms - self._means.clock()) / 1000
                await asyncio.wait({taking}, timeout=min(max(left_s, 0.001), WAIT_S_MAX))
        finally:
            if not taking.done():
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    async def _settle(self, command: Command, turn: Turn, hold: Hold) -> bytes | None:
        """None if what stood in the store is gone: it has to be asked again."""
        try:
            expired = self._expired(command) if self._late(command) else None
            if expired is not None:
                turn.release()
            lease = self._means.journal.lease
            standing = await self._means.journal.intend(Intent(command.command_id, command.deadline_ms, expired))
            if isinstance(standing, New) and expired is None:
                return await self._act(command, turn, lease)
            if isinstance(standing, Done | New):
                return standing.receipt if isinstance(standing, Done) else None
            log.info("%s: %s has begun it, waiting for its result", command.command_id, standing.owner)
            turn.release_slot()
            why = f"{standing.owner} began it and never said how it ended: it crashed or was cut off"
            unknown = self._receipt(command, Ended("unknown", why))
            hold(False)
            found = await self._means.journal.result_of(command.command_id, unknown)
            hold(True)
            return found
        finally:
            if not turn.is_kept:
                turn.release()

    async def _act(self, command: Command, turn: Turn, lease: int) -> bytes:
        refused = self._refused(command, lease)
        ended = refused or await self._run(command, turn)
        if not turn.is_kept:
            turn.release()  # who comes next is written behind this result, or together with it
        receipt = self._receipt(command, ended)
        stands = await self._means.journal.finish(command.command_id, receipt)
        if stands != receipt:
            log.warning(
                "%s: ended as %s, but it had been given up: the receipt that stands is %s",
                *(command.command_id, ended.status, stands.decode()),
            )
        return stands

    def _refused(self, command: Command, lease: int) -> Ended | None:
        if not self._means.journal.is_ours(lease):
            return Ended("failed", "not started: this executor could not renew its lease in time")
        if (halted := self._means.halted(command)) is not None:
            return Ended("refused", halted)
        try:
            why = self._means.may_act(command)
        except Exception as error:
            log.exception("%s: may_act failed", command.command_id)
            why = f"not started: may_act failed with {type(error).__name__}"
        return None if why is None else Ended("refused", why)

    async def _run(self, command: Command, turn: Turn) -> Ended:
        limit_ms = self._means.time_limit_ms
        begun = self._means.acting.begin(command)
        first: set[asyncio.Future[Any]] = {begun.task, self._cut}
        await asyncio.wait(first, timeout=limit_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
        if begun.task.done():
            return begun.task.result()
        why = "the executor was stopped while it ran" if self._cut.done() else f"it ran past its limit of {limit_ms} ms"
        log.warning("%s: %s, and may still run", command.command_id, why)
        turn.is_kept = True
        begun.task.add_done_callback(partial(self._ended_late, command, turn))
        self._means.acting.give_up(begun)
        return Ended("unknown", f"{why}, and may still run", begun.started_at_ms)

    def _ended_late(self, command: Command, turn: Turn, task: asyncio.Task[Ended]) -> None:
        turn.release()
        if not task.cancelled():
            log.warning("%s: ended after it was given up: %s", command.command_id, task.result())

    def _expired(self, command: Command) -> bytes:
        late_ms = self._means.clock() - command.deadline_ms
        return self._receipt(command, Ended("expired", f"not started: {late_ms} ms past its deadline"))

    def _receipt(self, command: Command, ended: Ended) -> bytes:
        return receipt_of(
            command,
            ended.status,
            executor=self._means.executor,
            at_ms=self._means.clock(),
            started_at_ms=ended.started_at_ms,
            detail=ended.detail,
        )
