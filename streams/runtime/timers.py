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


async def arrives_or_due(arrived: asyncio.Event, stage: Stage, clock_ms: Callable[[], int]) -> None:
    """Returns when something may have arrived or be due; the stage is asked again every `LOOK_S`."""
    due_ms = stage.due_ms()
    if due_ms is None:
        await arrived.wait()
        return
    wait_s = min(LOOK_S, max(0.001, (due_ms - clock_ms()) / 1000))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(arrived.wait(), wait_s)
