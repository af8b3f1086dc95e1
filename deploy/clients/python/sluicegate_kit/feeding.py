"""`produce`'s loop: takes one decision after the other from the user's function, and sends it while the next is made.

A plain generator may wait for its next decision as long as it likes (a queue, a poll): it does so in a thread of its
own, so that what is under way is sent meanwhile, and a stop need not wait for it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from sluicegate_kit.decision import Decision
from sluicegate_kit.errors import BrokerUnreachable, KitError
from sluicegate_kit.producer import Producer, Sent
from sluicegate_kit.settings import shown
from sluicegate_kit.stopping import Stop
from sluicegate_kit.threads import Threads

UNDER_WAY_MAX = 1000  # decisions sent and not yet acknowledged
NAMED_MAX = 5  # ids in a sentence
CLOSE_S = 1.0  # for an async generator to end after it was asked to
END = object()
_EXAMPLE = "yield Decision(id=..., workflow=..., entity=..., action=..., observed_at_ms=now_ms())"

Decide = Callable[[], Iterable[Decision] | AsyncIterator[Decision]]


class Source:
    """The decisions of the user's function, one at a time. Raises KitError if it is none that makes decisions."""

    def __init__(self, decide: Decide) -> None:
        if not callable(decide):
            raise KitError(f"decide must be a function that yields decisions, got {shown(decide)}: {_EXAMPLE}")
        made: Any = decide()  # what this raises is the user's, and is shown as theirs
        self._theirs: AsyncIterator[Any] | None = None
        self._plain: Iterator[Any] = iter(())
        self._threads: Threads[tuple[Any, BaseException | None]] = Threads("sluicegate-decide")
        if inspect.iscoroutine(made):
            made.close()
            raise KitError(f"decide is an `async def` without a `yield`: it makes no decisions; {_EXAMPLE}")
        if hasattr(made, "__aiter__"):
            self._theirs = made.__aiter__()
            return
        try:
            self._plain = iter(made)
        except TypeError as error:
            raise KitError(f"decide returns {shown(made)}: decisions are expected; {_EXAMPLE}") from error

    async def next(self) -> tuple[Any, BaseException | None]:
        """The next one and None, `END` and None, or what the user's code raised."""
        if self._theirs is None:
            return await self._threads.run(self._take)
        try:
            return await anext(self._theirs, END), None
        except Exception as error:
            return None, error

    def _take(self) -> tuple[Any, BaseException | None]:
        try:
            return next(self._plain, END), None
        except BaseException as error:  # it is raised where it is asked for
            return None, error

    def close(self) -> None:
        self._threads.close()


class Feeding:
    """`sent` counts the acknowledged."""

    def __init__(self, producer: Producer, stop: Stop) -> None:
        self._producer, self._stop = producer, stop
        self._under_way: dict[asyncio.Task[Sent], str] = {}
        self._room = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent = 0

    async def run(self, decide: Decide) -> None:
        """Returns when all decisions are acknowledged, or when it was stopped and what was under way is.

        Raises KitError for a decision that cannot be sent, BrokerUnreachable for one that was not acknowledged.
        """
        source = Source(decide)
        try:
            await self._feed(source)
        finally:
            source.close()
            if self._under_way:
                arrived = asyncio.ensure_future(asyncio.wait(self._under_way))
                await _first(arrived, self._stop.over)
                arrived.cancel()
            for task in self._under_way:
                task.cancel()
            error = self._failed.exception() if self._failed.done() else None
        if error is not None:
            raise error
        if left := list(self._under_way.values()):
            named = ", ".join(shown(each) for each in left[:NAMED_MAX]) + (", ..." if len(left) > NAMED_MAX else "")
            raise BrokerUnreachable(
                f"stopped while {len(left)} decisions were not acknowledged ({named}): send them again with the same "
                "ids, they may or may not be there"
            )

    async def _feed(self, source: Source) -> None:
        while not (self._stop.asked.done() or self._failed.done()):
            taking = asyncio.create_task(source.next())
            await _first(taking, self._stop.asked, self._failed)
            if not taking.done():
                taking.cancel()  # an async generator ends with it; a plain one stays in its thread
                await asyncio.wait({taking}, timeout=CLOSE_S)
            if not taking.done() or taking.cancelled():
                return
            one, error = taking.result()
            if error is not None:
                raise error
            if one is END:
                return
            if not isinstance(one, Decision):
                raise KitError(f"decide yields {shown(one)}: a Decision is expected; {_EXAMPLE}")
            await self._send(one)

    async def _send(self, decision: Decision) -> None:
        posting = asyncio.create_task(self._producer.post(decision))
        await _first(posting, self._stop.over)
        if not posting.done():
            posting.cancel()
            raise BrokerUnreachable(
                f"stopped while the decision {shown(decision.id)} could not be sent: send it again with the same id"
            )
        task = posting.result()
        self._under_way[task] = decision.id
        task.add_done_callback(self._ended)
        while len(self._under_way) >= UNDER_WAY_MAX and not (self._failed.done() or self._stop.over.done()):
            self._room.clear()
            waiting = asyncio.create_task(self._room.wait())
            await _first(waiting, self._failed, self._stop.over)
            waiting.cancel()

    def _ended(self, task: asyncio.Task[Sent]) -> None:
        self._room.set()
        if task.cancelled():
            return
        self._under_way.pop(task, None)
        if (error := task.exception()) is None:
            self.sent += 1
        elif not self._failed.done():
            self._failed.set_exception(error)


async def _first(*waits: asyncio.Future[Any]) -> None:
    """Returns when one of them is done."""
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
