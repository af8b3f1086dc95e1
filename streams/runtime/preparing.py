"""What a batch waits for before it can be decided, told from being stuck: each of its waits has a bound of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streams.batch import Fetched
from streams.runtime.settings import PREPARE_S, PROGRESS_S
from streams.runtime.stage import Stage
from streams.runtime.transactions import Failed


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
