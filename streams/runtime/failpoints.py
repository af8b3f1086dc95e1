"""Places where a test can make the process die or wait: `SLUICEGATE_FAILPOINTS=before_commit=kill@5,...`.

    NAME=kill@N       the N-th time the place is reached the process ends as by SIGKILL
    NAME=hold:PATH    the place is not left while the file PATH exists
    clock=shift:PATH  this process's clock shows so many milliseconds more as the file PATH says, while it exists

Without the variable a place costs a look into an empty dict, once a batch.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from streams.errors import ConfigurationError

VARIABLE = "SLUICEGATE_FAILPOINTS"
PLACES = (
    "hand_over_with_producer",  # the producer is initialised, the offset not yet read
    "before_transaction",
    "between_sends",
    "before_commit",
    "after_commit",
)


CLOCK, SHIFT = "clock", "shift:"


def _parse(text: str) -> dict[str, str]:
    armed = dict(part.partition("=")[::2] for part in text.split(",") if part)
    for place, what in armed.items():
        if place == CLOCK and what.startswith(SHIFT):
            continue
        if place not in PLACES or not (what.startswith("hold:") or what.removeprefix("kill@").isdigit()):
            raise ConfigurationError(
                f"{VARIABLE}: {place}={what} is not one of {', '.join(PLACES)} = kill@N or hold:PATH"
            )
    return armed


_armed = _parse(os.environ.get(VARIABLE, ""))
_reached: dict[str, int] = {}


def shifted_ms() -> int:
    """How far a test wants the clock to be off, now."""
    if (what := _armed.get(CLOCK)) is None:
        return 0
    try:
        return int(Path(what.removeprefix(SHIFT)).read_text())
    except (OSError, ValueError):
        return 0


async def reach(place: str) -> None:
    """Does what a test asked for at this place; nothing otherwise."""
    what = _armed.get(place)
    if what is None:
        return
    _reached[place] = _reached.get(place, 0) + 1
    if what == f"kill@{_reached[place]}":
        os.kill(os.getpid(), signal.SIGKILL)
    if what.startswith("hold:"):
        path = Path(what.removeprefix("hold:"))
        while path.exists():  # noqa: ASYNC110, ASYNC240 -- a test's file, looked at 50 times a second
            await asyncio.sleep(0.02)
