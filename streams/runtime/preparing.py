"""Long waits of a lane, told from being stuck: each says that it goes on, and has a bound of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streams.batch import Fetched
from streams.runtime.settings import PREPARE_S, PROGRESS_S
from streams.runtime.stage import Stage
from streams.runtime.transactions import Failed

T = TypeVar("T")


async def bounded(
    work: Callable[[Callable[[], None]], Awaitable[T]], seconds: float, progressed: Callable[[], None]
) -> T:
    """What `work` returns, which is told how to say that it goes on. Raises TimeoutError after `seconds` of silence."""
    async with asyncio.timeout(seconds) as bound:

        def goes_on() -> None:
            progressed()
            bound.reschedule(asyncio.get_running_loop().time() + seconds)

        return await work(goes_on)


async def prepared(stage: Stage, fetched: Sequence[Fetched], goes_on: Callable[[], None]) -> None:
    """Lets the stage prepare the batch; `goes_on` is told every `PROGRESS_S`. Raises Failed."""
    preparing = asyncio.ensure_future(stage.prepare(fetched))
    try:
        async with asyncio.timeout(PREPARE_S):
            while not (await asyncio.wait((preparing,), timeout=PROGRESS_S))[0]:
                goes_on()
    except TimeoutError as error:
        raise Failed(f"what the batch waits for took longer than {PREPARE_S:.0f} s") from error
    finally:
        preparing.cancel()
    await preparing
