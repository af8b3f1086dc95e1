"""The log of `run` and `produce`: what the kit says, and of the client library one line of a kind in ten seconds.

While a broker is away aiokafka tells of every attempt as an error, hundreds of times a second.
"""

from __future__ import annotations

import logging

REPEAT_S = 10.0
TEMPLATES_MAX = 500  # more than the libraries have, unless one builds its messages by hand
LIBRARIES = ("aiokafka", "asyncio")


class Seldom(logging.Filter):
    """Lets a library's line pass if none of its template has passed for a while, and without its traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[tuple[str, str], float] = {}  # by logger and template

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in LIBRARIES:
            return True
        if record.levelno < logging.ERROR:
            return False
        what = (record.name, str(record.msg)[:200])
        if record.created < self._passed.get(what, 0.0) + REPEAT_S:
            return False
        if len(self._passed) >= TEMPLATES_MAX:
            self._passed.clear()
        self._passed[what] = record.created
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            record.msg = f"{record.getMessage()} ({type(error).__name__}: {error})".replace("\n", " ")[:400]
            record.args, record.exc_info, record.exc_text = None, None, None
        return True


def set_up() -> None:
    """Logs to stderr, unless the program has set up its logs already; the libraries are quiet in either."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for handler in logging.root.handlers:
        if not any(isinstance(each, Seldom) for each in handler.filters):
            handler.addFilter(Seldom())
