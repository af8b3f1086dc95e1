"""Logs: one line per event that matters, none per decision, none at rest; on stderr.

Several processes share one pipe, so a line is one write of at most `LINE_BYTES_MAX`: what is longer, or comes in two
writes, is torn by its neighbours'. What belongs to an orderly start or stop is said at `debug`; the supervisor says
once that all are ready.

The client libraries tell of every reconnect as an error with a traceback, many times a second while a broker is away.
What they say at warning or above is kept, as one line and once in `REPEAT_S`; what they say below it is not, nor that
they meet an error which Kafka's protocol calls retriable: they retry it, and if that does not help we say what waits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from types import TracebackType
from typing import Any

import structlog
from aiokafka.errors import KafkaError

REPEAT_S = 10.0
TEMPLATES_MAX = 500  # more than the libraries have, unless one builds its messages by hand
LINE_BYTES_MAX = 4096  # what one write puts into a pipe in one piece (PIPE_BUF on Linux), its newline included
SHORT_CHARS = 100  # a value of an object that is not cut any further
NAMES = ("event", "level", "timestamp", "role", "pid", "prefix")  # what every object has
LEVEL_VARIABLE = "SLUICEGATE_LOG_LEVEL"
LEVELS: Mapping[str, int] = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def write(text: str) -> None:
    """One line, in one write; never raises: nobody stops working because nobody listens."""
    stream = sys.stderr
    if stream is None:
        return  # it was closed when this process began
    data = text.encode("utf-8", "backslashreplace")
    if len(data) >= LINE_BYTES_MAX:
        end = LINE_BYTES_MAX - 4
        while data[end] & 0xC0 == 0x80:  # not in the middle of a character
            end -= 1
        data = data[:end] + b"..."
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError):  # a test's, in memory
            stream.write(f"{text}\n")
        else:
            os.write(descriptor, data + b"\n")


class _Lines:
    """What structlog writes with: every level is the same."""

    def msg(self, text: str) -> None:
        write(text)

    debug = info = warning = error = critical = exception = msg


class _OneLine(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: dict[tuple[str, str], float] = {}  # by library and template

    def emit(self, record: logging.LogRecord) -> None:
        what = (record.name, str(record.msg))
        if _is_retried(record) or record.created < self._said.get(what, 0.0) + REPEAT_S:
            return
        if len(self._said) >= TEMPLATES_MAX:
            self._said.clear()
        self._said[what] = record.created
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        structlog.get_logger().warning(" ".join(message.split())[:400], library=record.name.partition(".")[0])


def _is_retried(record: logging.LogRecord) -> bool:
    """Whether it is about an error that a client answers by trying again."""
    told = record.args if isinstance(record.args, tuple) else ()
    found = [one if isinstance(one, type) else type(one) for one in (*told, *(record.exc_info or ())[1:2])]
    return any(issubclass(one, KafkaError) and getattr(one, "retriable", False) for one in found)


def configure(role: str, form: str = "console", level: str = "info", prefix: str = "") -> None:
    """Sets up this process's logs, as `console` or `json`. Lines name the role, objects also the process and prefix."""
    as_json = form == "json"
    more = {"role": role, "pid": os.getpid(), "prefix": prefix} if as_json else {"role": role}
    as_text = structlog.dev.ConsoleRenderer(colors=bool(sys.stderr and sys.stderr.isatty()), pad_event_to=0)
    structlog.configure(
        processors=[
            lambda _, __, event: {**event, **more},  # not a context variable: threads have their own
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            as_object if as_json else as_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    logging.root.handlers[:] = [_OneLine(logging.WARNING)]
    logging.root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _unexpected
    threading.excepthook = lambda one: _unexpected(one.exc_type, one.exc_value, one.exc_traceback)
    sys.unraisablehook = lambda one: _unexpected(one.exc_type, one.exc_value, one.exc_traceback)


def as_object(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """A line as a JSON object that one write takes: of one that is too long, the longest values lose their middle."""
    dumped: Callable[[Any], str] = partial(json.dumps, default=repr)
    text, kept = dumped(event), dict(event)
    while len(text) >= LINE_BYTES_MAX:
        longest = max(kept, key=lambda name: len(dumped(kept[name])))
        value = kept[longest] if isinstance(kept[longest], str) else repr(kept[longest])
        if len(value) > SHORT_CHARS:
            kept[longest] = f"{value[: len(value) // 8]} ... {value[-(len(value) * 3 // 8) :]}"
        else:  # not a long value, but many of them
            kept = dict(sorted(kept.items(), key=lambda one: one[0] not in NAMES)[: len(kept) // 2])
        text = dumped({**kept, "cut": True})
    return text


def is_json() -> bool:
    return structlog.get_config()["processors"][-1] is as_object


def last_words(why: str, error: BaseException | None = None) -> None:
    """Why something ended: for a person a line `sluicegate: why`, or like all other lines an object.

    An error that nobody expected comes with its traceback, in lines of its own before that, or as a value.
    """
    if is_json():
        more = {} if error is None else {"traceback": _lines(error)}
        structlog.get_logger().error(why, **more)
        return
    for line in [] if error is None else _lines(error).splitlines():
        write(line)
    _say(why)


def say(what: str) -> None:
    """Good news, once: for a person a line `sluicegate: what`."""
    if is_json():
        structlog.get_logger().info(what)
    else:
        _say(what)


def warn(event: str) -> None:
    """A warning from code that has no logger of its own."""
    structlog.get_logger().warning(event)


def _say(what: str) -> None:
    first, *others = what.splitlines() or [""]
    write(f"sluicegate: {first}")
    for line in others:
        write(line)


def _lines(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _unexpected(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    error = error or kind()
    last_words(f"unexpected {kind.__name__}: {error}", error.with_traceback(trace))
