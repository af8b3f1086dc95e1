"""What the clients of both kinds of evaluator have in common: one end in time for all of a call, so many at once, and
the breaker.

A call waits for a slot, then for the breaker, then for the answer, and every wait is cut at the same moment.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from streams.reevaluation import Unanswered
from streams.runtime.evaluators.breaker import Admitted, Breaker
from streams.terms import Asked

WHY_CHARACTERS_MAX = 300  # of what an evaluator or a library says about a failure
FAIR_SHARE = 0.5  # a call that had less of the policy's timeout than this says nothing about the evaluator when late


Health = Literal["alive", "failing", "dead"]


class BreakerOpen(Unanswered):
    """Raised instead of a call that would meet an evaluator which is known to fail."""


class Failed(Unanswered):
    """Raised when the evaluator was asked and gave no answer of use. `health`: what that says about it.

    `alive`: it has dealt with the call; `failing`: it has not; `dead`: it cannot deal with the next one either.
    """

    def __init__(self, why: str, health: Health = "alive") -> None:
        super().__init__(why)
        self.health = health


@dataclass(slots=True)
class Call:
    """One question on its way. `doing` is what it waits for; `keeps_slot`: it goes on at the other side."""

    id: str
    body: bytes
    ends_s: float  # on the loop's clock
    doing: str = ""
    asked_s: float | None = None  # when the question went out
    is_barred: bool = False  # waits for the breaker
    keeps_slot: bool = False
    retries: bool = True


class Client(ABC):
    """Asks one workflow's evaluator. Belongs to the loop that it is first used in."""

    def __init__(self, name: str, asked: Asked, breaker: Breaker | None = None) -> None:
        self.name = name
        self.asked = asked
        self.breaker = breaker or Breaker()
        self.is_closed = False
        self.slots = asyncio.Semaphore(asked.concurrency)
        self._changed = asyncio.Event()

    async def ask(self, id: str, body: bytes, timeout_s: float) -> bytes:
        """The answer's bytes, within `timeout_s` seconds. Raises Unanswered; BreakerOpen without having asked."""
        ends_s = asyncio.get_running_loop().time() + timeout_s
        call = Call(id, body, ends_s)
        try:
            async with asyncio.timeout_at(ends_s):
                self._refuse_early(call)
                call.doing = f"{self.asked.concurrency} calls were under way already, as many as its policy allows"
                await self.slots.acquire()
                try:
                    return await self._in_turn(call)
                finally:
                    if not call.keeps_slot:
                        self.slots.release()
        except TimeoutError:
            if call.is_barred:
                raise BreakerOpen(self._barred("nothing was heard of the probe in time"), late=True) from None
            raise Unanswered(f"{self.name} gave no answer within {timeout_s:.3g} s: {call.doing}", late=True) from None

    @abstractmethod
    async def answer(self, call: Call) -> bytes:
        """Asks, until it is cancelled. Raises Failed."""

    @abstractmethod
    async def close(self) -> None:
        """Ends what is under way and lets go of everything."""

    async def check(self) -> str | None:
        """What is wrong with the evaluator, as far as can be known without asking it. Bounded by itself."""
        return None

    async def _in_turn(self, call: Call) -> bytes:
        """The call with its slot: past the breaker, and what came of it told to the breaker."""
        loop = asyncio.get_running_loop()
        admitted = await self._enter(call)
        call.retries = not admitted.probe
        try:
            said = await self.answer(call)
        except Failed as why:
            if why.health == "alive":
                self._tell_success(admitted)
            else:
                self._tell_failure(admitted, why.health == "dead")
            raise
        except asyncio.CancelledError:
            if loop.time() >= call.ends_s and self._had_time(call):
                self._tell_failure(admitted, False)
            else:
                self.breaker.released(admitted, loop.time())
                self._tell()
            raise
        except BaseException:
            self._tell_failure(admitted, False)
            raise
        self._tell_success(admitted)
        return said

    def _had_time(self, call: Call) -> bool:
        """Whether the evaluator itself had a fair share of its timeout, and not the wait for a slot or for a start."""
        return call.asked_s is not None and call.ends_s - call.asked_s >= FAIR_SHARE * self.asked.timeout_ms / 1000

    async def _enter(self, call: Call) -> Admitted:
        loop = asyncio.get_running_loop()
        while True:
            found = self.breaker.admit(loop.time())
            if isinstance(found, Admitted):
                call.is_barred = False
                return found
            self._refuse_early(call)
            call.is_barred = True
            changed = self._changed
            waking = None if found.until_s is None else loop.call_at(found.until_s, changed.set)
            await changed.wait()
            if waking is not None:
                waking.cancel()
            if changed is self._changed:
                self._changed = asyncio.Event()

    def _refuse_early(self, call: Call) -> None:
        found = self.breaker.closed_until(asyncio.get_running_loop().time())
        if found is not None and found.until_s is not None and found.until_s >= call.ends_s:
            raise BreakerOpen(self._barred("its next probe would come too late for this question"))

    def refuse_if_closed(self) -> None:
        """Raises Failed once the client was closed: nothing is opened or started again then."""
        if self.is_closed:
            raise Failed(f"{self.name} was not asked: the worker stops")

    def _barred(self, why: str) -> str:
        return f"{self.name} was not asked: it has failed too often and its breaker is open; {why}"

    def _tell_success(self, admitted: Admitted) -> None:
        self.breaker.succeeded(admitted)
        self._tell()

    def _tell_failure(self, admitted: Admitted, at_once: bool) -> None:
        self.breaker.failed(admitted, asyncio.get_running_loop().time(), at_once)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def cut(text: str) -> str:
    """What somebody else says, short enough for a record."""
    return text if len(text) <= WHY_CHARACTERS_MAX else text[: WHY_CHARACTERS_MAX - 3] + "..."
