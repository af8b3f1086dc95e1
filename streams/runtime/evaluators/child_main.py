"""The program of an evaluator's own process: imports the user's function, answers questions over one socket.

Runs under the user's interpreter: any Python from 3.9 on, the standard library alone, nothing of ours. A frame is a
head (bytes of the body, number of the call, a word) and a body; the word of a question is the time left in ms. The
process ends, and all that it started with it, when the other end of the socket is gone.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib
import inspect
import json
import os
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

HEAD = struct.Struct(">IQI")
READY, UNUSABLE, TAKEN, ANSWERED, DECLINED, FAILED = range(6)
TEXT_CHARACTERS_MAX = 300
ANSWER_BYTES_MAX = 256 * 1024


class Refusal(Exception):
    """Raised when what the function gave is no answer."""


class Wire:
    """Frames over the socket, from any thread."""

    def __init__(self, number: int) -> None:
        os.set_inheritable(number, False)  # what the function starts must not hold it open
        self._socket = socket.socket(fileno=number)
        self._reading = self._socket.makefile("rb")
        self._writing = threading.Lock()

    def send(self, call: int, word: int, body: bytes = b"") -> None:
        try:
            with self._writing:
                self._socket.sendall(HEAD.pack(len(body), call, word) + body)
        except OSError:
            leave()

    def receive(self) -> tuple[int, int, bytes] | None:
        """Call, word and body; None when the other end is gone."""
        try:
            head = self._reading.read(HEAD.size)
            if len(head) < HEAD.size:
                return None
            length, call, word = HEAD.unpack(head)
            body = self._reading.read(length)
        except OSError:
            return None
        return (call, word, body) if len(body) == length else None


class Answering:
    """Runs the function: in threads, what it awaits in one loop of its own."""

    def __init__(self, function: Callable[[Any], Any], concurrency: int, wire: Wire) -> None:
        self._function = function
        self._wire = wire
        self._threads = ThreadPoolExecutor(concurrency, "evaluator")
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="evaluator-loop", daemon=True).start()

    def take(self, call: int, left_ms: int, question: bytes) -> None:
        self._threads.submit(self._run, call, left_ms, question)

    def _run(self, call: int, left_ms: int, question: bytes) -> None:
        try:
            found = self._function(json.loads(question))
            if inspect.isawaitable(found):
                found = asyncio.run_coroutine_threadsafe(_within(found, left_ms / 1000), self._loop).result()
            if found is None:
                self._wire.send(call, DECLINED)
                return
            body = _encoded(found)
        except Refusal as why:
            self._wire.send(call, FAILED, said(str(why)))
        except BaseException as error:  # also SystemExit: the function has no say over the process
            traceback.print_exc()
            self._wire.send(call, FAILED, said(f"raised {named(error)}"))
        else:
            self._wire.send(call, ANSWERED, body)


async def _within(found: Any, left_s: float) -> Any:
    task = asyncio.ensure_future(found)
    await asyncio.wait([task], timeout=left_s)
    if not task.done():
        task.cancel()
        raise Refusal("was cancelled: its time was over")
    return task.result()


def _encoded(found: Any) -> bytes:
    if not isinstance(found, dict):
        raise Refusal(f"returned a {type(found).__name__}, not a dict or None")
    try:
        body = json.dumps(found, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except Exception as error:
        raise Refusal(f"returned what is not JSON: {named(error)}") from error
    if len(body) > ANSWER_BYTES_MAX:
        raise Refusal(f"returned an answer of {len(body)} bytes; at most {ANSWER_BYTES_MAX} are read")
    return body


def named(error: BaseException) -> str:
    """The error's type and message; the message is made by the user's code and may fail as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def said(text: str) -> bytes:
    return text[:TEXT_CHARACTERS_MAX].encode("utf-8", "replace")


def leave() -> None:
    """Ends the process whatever its threads do, and what it has started, if the group is its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)


def die_with_parent(lifeline: int) -> None:
    """Has the kernel kill the group when the other end of a pipe is gone, where there is a way (Linux).

    So it also ends when the function holds the interpreter's lock and nobody sees the socket's end.
    """
    os.set_inheritable(lifeline, False)
    if os.getpgrp() == os.getpid() and hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def use_own_path() -> None:
    """The folder that the worker was started in instead of this file's, whose names would hide standard modules."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.getcwd(), *(entry for entry in sys.path if os.path.abspath(entry or ".") != here)]


def load(target: str) -> Callable[[Any], Any]:
    """The function that `module:name` says. Raises Refusal."""
    module_name, _, name = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:
        if not (isinstance(error, ModuleNotFoundError) and error.name == module_name):
            traceback.print_exc()
        raise Refusal(f"the module {module_name} cannot be imported: {named(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise Refusal(f"the module {module_name} has no function {name}")
    return function  # type: ignore[no-any-return]  # whatever the user's module calls so


def main(target: str, concurrency: int, number: int, lifeline: int) -> None:
    wire = Wire(number)
    if sys.version_info < (3, 9):  # noqa: UP036 - the interpreter is the user's choice, not ours
        wire.send(0, UNUSABLE, said(f"Python 3.9 or newer is needed, this is {sys.version.split()[0]}"))
        return
    die_with_parent(lifeline)
    use_own_path()
    try:
        function = load(target)
    except Refusal as why:
        wire.send(0, UNUSABLE, said(str(why)))
        return
    answering = Answering(function, concurrency, wire)
    wire.send(0, READY)
    while True:
        came = wire.receive()
        if came is None:
            leave()
            return
        call, left_ms, question = came
        wire.send(call, TAKEN)
        answering.take(call, left_ms, question)


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:5]))
