"""An evaluator that is a Python function of the user's, in a process of its own: nothing of theirs runs in ours.

The process is started by the first question and again after its end. It has its own session, so that it and what it
has started can be killed together. A call that is over time goes on over there and keeps its slot; when as many as the
policy allows have run past the policy's whole timeout, or questions are not even taken, the process is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path

import msgspec
import structlog

from schemas.common import VALUE_BYTES_MAX
from streams.runtime.children import Process, start
from streams.runtime.evaluators import child_main
from streams.runtime.evaluators.child_main import ANSWERED, DECLINED, FAILED, HEAD, READY, TAKEN, UNUSABLE
from streams.runtime.evaluators.client import Call, Client, Failed, cut
from streams.terms import Asked

START_S = 60.0  # for the imports of the user's module: large ones take many seconds on a busy machine
UNTAKEN_S = 5.0  # a process that has not taken a question for so long does not get to run its reader
ENDING_S = 5.0  # from a SIGKILL to the end; only a machine in trouble takes longer
LAST_WORDS_S = 0.2  # what was said before a process ended is already in the socket

log = structlog.get_logger()


class Running:
    """One call in the process: `reply` is its word and body, None when the process has ended."""

    def __init__(self, sent_s: float) -> None:
        self.sent_s = sent_s
        self.is_taken = False
        self.reply: asyncio.Future[tuple[int, bytes] | None] = asyncio.get_running_loop().create_future()


class Life:
    """One process from its start to its end."""

    def __init__(self, process: Process, ours: socket.socket, lifeline: int) -> None:
        self._process = process
        self._socket = ours
        self._lifeline = lifeline  # a pipe that nothing is written to: its end is theirs
        self._number = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._watching: asyncio.Task[None] | None = None
        self.running: dict[int, Running] = {}
        self.has_ended = self.is_killed = False

    @classmethod
    async def start(cls, asked: Asked) -> Life:
        """A process that is ready to be asked. Raises Failed, `dead`, with what is wrong; START_S at most."""
        ours, theirs = socket.socketpair()
        lifeline_theirs, lifeline = os.pipe()
        fds = theirs.fileno(), lifeline_theirs
        interpreter = asked.interpreter or sys.executable
        command = [interpreter, "-u", str(Path(child_main.__file__)), str(asked.function), str(asked.concurrency)]
        try:
            # what the user prints goes where the log goes
            process = start([*command, *map(str, fds)], stdout=2, pass_fds=fds)
        except (OSError, ValueError) as error:
            _close(ours, lifeline)
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise Failed(f"its interpreter {interpreter!r:.200} cannot be started: {why}", "dead") from error
        except BaseException:
            _close(ours, lifeline)
            raise
        finally:
            _close(theirs, lifeline_theirs)
        life = cls(process, ours, lifeline)
        try:
            async with asyncio.timeout(START_S):
                await life._begin()
        except TimeoutError:
            await life.end()
            raise Failed(f"its process was not ready within {START_S:.0f} s", "dead") from None
        except BaseException:
            await life.end()
            raise
        return life

    def ask(self, body: bytes, left_s: float) -> Running:
        """Sends a question and does not wait for anything."""
        running = Running(asyncio.get_running_loop().time())
        if self.has_ended or self._writer is None:
            running.reply.set_result(None)
            return running
        self._number += 1
        self.running[self._number] = running
        self._writer.write(HEAD.pack(len(body), self._number, max(1, int(left_s * 1000))) + body)
        return running

    def kill(self) -> None:
        """Kills the process and all that it has started. Its calls hear of it when it has ended."""
        self.is_killed = True
        self._process.kill()

    async def end(self) -> None:
        """Kills the process and waits for its end, ENDING_S at most."""
        self.kill()
        if self._watching is None:
            await self._bury()
        else:
            await asyncio.wait([self._watching], timeout=ENDING_S)

    @property
    def ending(self) -> str:
        """How it ended, for a person."""
        code = self._process.code
        if code is None:
            return "its process ended"
        return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with code {code}"

    async def _begin(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        try:
            _, word, body = await self._frame(self._reader)
        except (asyncio.IncompleteReadError, OSError):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.ended(), ENDING_S)
            why = f"{self.ending} before it was ready; what it said stands in the log"
            raise Failed(why, "dead") from None
        if word == UNUSABLE:
            raise Failed(cut(body.decode("utf-8", "replace")), "dead")
        if word != READY:
            raise Failed("its process said something else than that it is ready", "dead")
        self._watching = asyncio.create_task(self._watch(self._reader))

    async def _watch(self, reader: asyncio.StreamReader) -> None:
        reading = asyncio.create_task(self._read(reader))
        ending = asyncio.create_task(self._process.ended())
        await asyncio.wait([reading, ending], return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            await asyncio.wait([reading], timeout=LAST_WORDS_S)
        reading.cancel()
        self.kill()
        await asyncio.wait([ending], timeout=ENDING_S)
        ending.cancel()
        await asyncio.gather(reading, ending, return_exceptions=True)
        await self._bury()

    async def _bury(self) -> None:
        self.has_ended = True
        os.close(self._lifeline)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.ended(), ENDING_S)
        if self._writer is None:
            self._socket.close()
        else:
            self._writer.transport.abort()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        calls, self.running = self.running, {}
        for call in calls.values():
            if not call.reply.done():
                call.reply.set_result(None)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                number, word, body = await self._frame(reader)
                if word == TAKEN and number in self.running:
                    self.running[number].is_taken = True
                elif word in (ANSWERED, DECLINED, FAILED) and (call := self.running.pop(number, None)):
                    call.reply.set_result((word, body))

    async def _frame(self, reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
        length, number, word = HEAD.unpack(await reader.readexactly(HEAD.size))
        if length > VALUE_BYTES_MAX:
            raise OSError("somebody else writes to the socket")
        return number, word, await reader.readexactly(length)


class ChildEvaluator(Client):
    """The client of one function. `START_S` and the like bound everything that it waits for."""

    def __init__(self, asked: Asked) -> None:
        super().__init__(f"the evaluator {asked.function}", asked)
        self._timeout_s = asked.timeout_ms / 1000
        self._life: Life | None = None
        self._starting: asyncio.Task[Life] | None = None

    async def answer(self, call: Call) -> bytes:
        """What the function returns, as JSON. Raises Failed."""
        call.doing = "its process was still starting"
        life = await self._living()
        call.doing = "the function had not returned"
        loop = asyncio.get_running_loop()
        call.asked_s = loop.time()
        running = life.ask(call.body, call.ends_s - loop.time())
        call.keeps_slot = True
        running.reply.add_done_callback(lambda _: self.slots.release())
        try:
            reply = await asyncio.shield(running.reply)
        except asyncio.CancelledError:
            loop.call_at(max(loop.time(), running.sent_s + self._timeout_s), self._kill_if_hung, life)
            loop.call_at(max(loop.time(), running.sent_s + UNTAKEN_S), self._kill_if_untaken, life, running)
            raise
        if reply is None:
            raise Failed(f"{self.name} gave no answer: {life.ending}", "dead")
        word, body = reply
        if word == FAILED:
            raise Failed(f"{self.name} {cut(body.decode('utf-8', 'replace'))}")
        return msgspec.json.encode({"decline": "the function returned None"}) if word == DECLINED else body

    async def check(self) -> str | None:
        """Starts the process, if it is not running, and says why it cannot be used. START_S at most."""
        try:
            await self._living()
        except Failed as why:
            return str(why)
        return None

    async def close(self) -> None:
        """Kills the process. Calls under way fail."""
        self.is_closed = True
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        life, self._life = self._life, None
        if life is not None:
            await life.end()

    async def _living(self) -> Life:
        if self._life is not None and not (self._life.has_ended or self._life.is_killed):
            return self._life
        self.refuse_if_closed()
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(_heard)  # also where nobody has waited so long
        starting = self._starting
        try:
            # a call that runs out of time leaves the start to those that come after it
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if starting.cancelled():
                raise Failed(f"{self.name} was not asked: the worker stops") from None
            raise
        except Failed as why:
            raise Failed(f"{self.name} cannot be used: {why}", why.health) from why

    async def _start(self) -> Life:
        try:
            self._life = await Life.start(self.asked)
        finally:
            self._starting = None
        log.debug("evaluator started", function=self.asked.function, interpreter=self.asked.interpreter)
        return self._life

    def _kill_if_hung(self, life: Life) -> None:
        now_s = asyncio.get_running_loop().time()
        hung = sum(now_s - call.sent_s >= self._timeout_s for call in life.running.values())
        if hung >= self.asked.concurrency and not life.has_ended:
            log.warning("evaluator killed", function=self.asked.function, hung=hung, why="all its calls are hung")
            life.kill()

    def _kill_if_untaken(self, life: Life, running: Running) -> None:
        if not running.is_taken and not running.reply.done() and not life.has_ended:
            log.warning("evaluator killed", function=self.asked.function, why="it does not take questions")
            life.kill()


def _close(one: socket.socket, other: int) -> None:
    one.close()
    os.close(other)


def _heard(starting: asyncio.Task[Life]) -> None:
    if not starting.cancelled() and (why := starting.exception()) is not None:
        log.warning("evaluator not started", why=str(why))
