"""Logs: one line per event that matters, none per decision, on stderr.

The client libraries tell of every reconnect as an error with a traceback, many times a second while a broker is away.
What they say at warning or above is kept, as one line and once in `REPEAT_S`; what they say below it is not.
"""

from __future__ import annotations

import logging
import sys

import structlog

REPEAT_S = 10.0
TEMPLATES_MAX = 500  # more than the libraries have, unless one builds its messages by hand


class _OneLine(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: dict[tuple[str, str], float] = {}  # by library and template

    def emit(self, record: logging.LogRecord) -> None:
        what = (record.name, str(record.msg))
        if record.created < self._said.get(what, 0.0) + REPEAT_S:
            return
        if len(self._said) >= TEMPLATES_MAX:
            self._said.clear()
        self._said[what] = record.created
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        structlog.get_logger().warning(" ".join(message.split())[:400], library=record.name.partition(".")[0])


def configure(role: str, form: str = "console") -> None:
    """Sets up this process's logs, as `console` or `json`; every line names the role."""
    as_json = form == "json"
    as_text = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    structlog.configure(
        processors=[
            lambda _, __, event: {**event, "role": role},  # not a context variable: threads have their own
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer() if as_json else as_text,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.root.handlers[:] = [_OneLine(logging.WARNING)]
    logging.root.setLevel(logging.WARNING)


def last_words(why: str) -> None:
    """One line that says why something ended: for a person `sluicegate: why`, or like all other lines as JSON."""
    if isinstance(structlog.get_config()["processors"][-1], structlog.processors.JSONRenderer):
        structlog.get_logger().error(why)
    else:
        sys.stderr.write(f"sluicegate: {why}\n")
    sys.stderr.flush()


def warn(event: str) -> None:
    """A warning from code that has no logger of its own."""
    structlog.get_logger().warning(event)
