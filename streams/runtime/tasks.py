"""What ends tasks: us, an error, or a client library that cancels what waits on a connection which broke.

aiokafka does the latter, in reads and in its own `stop`. Taken for a cancellation of ours it would end a task that
nobody misses; so each kind is told from the other here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka.errors import KafkaError

from streams.errors import PromiseBroken

_EXPECTED = (KafkaError, TimeoutError, OSError, AssertionError)  # of a client that takes its leave of nobody


def failure(task: asyncio.Task[Any]) -> BaseException | None:
    """Why a task that has ended did so, or None where it returned or was cancelled by us."""
    if not task.cancelled():
        return task.exception()
    return None if task.cancelling() else PromiseBroken(f"{task.get_name()} was cancelled, and not by us")


async def closed(stopping: Coroutine[Any, Any, None], within_s: float) -> None:
    """Lets a client stop, for so long at most; what a broker that is gone makes of it does not matter."""
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({task}, timeout=within_s)
    finally:
        task.cancel()
    if task.done() and (error := failure(task)) is not None and not isinstance(error, (*_EXPECTED, PromiseBroken)):
        raise error
