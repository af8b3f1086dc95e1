"""Timers of a lane: what is due by the clock is decided like a batch, with no records in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from streams.runtime.settings import LOOK_S
from streams.runtime.stage import Stage


def is_due(stage: Stage, now_ms: int) -> bool:
    """Whether the stage has something to decide, though nothing came."""
    due_ms = stage.due_ms()
    return due_ms is not None and due_ms <= now_ms


async def arrives_or_due(arrived: asyncio.Event, stage: Stage, clock_ms: Callable[[], int], longest_s: float) -> None:
    """Returns when something may have arrived or be due, or after `longest_s`; the stage is asked every `LOOK_S`."""
    due_ms = stage.due_ms()
    wait_s = longest_s if due_ms is None else min(LOOK_S, longest_s, (due_ms - clock_ms()) / 1000)
    # not wait_for: that of Python 3.11 forgets that it was cancelled when what it waits for has just come
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(0.001, wait_s)):
            await arrived.wait()
