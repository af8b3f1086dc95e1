"""Logs: one line per event that matters, none per decision, on stderr.

The client libraries tell of every reconnect as an error with a traceback. What they say at warning or above is kept,
as one line; what they say below it is not.
"""

from __future__ import annotations

import logging
import sys

import structlog


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        structlog.get_logger().warning(" ".join(message.split())[:400], library=record.name.partition(".")[0])


def configure(role: str) -> None:
    """Sets up this process's logs; every line names the role."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    logging.root.handlers[:] = [_OneLine(logging.WARNING)]
    logging.root.setLevel(logging.WARNING)


def warn(event: str) -> None:
    """A warning from code that has no logger of its own."""
    structlog.get_logger().warning(event)
