"""What a batch waits for before it can be decided, told from being stuck: each of its waits has a bound of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from streams.batch import Fetched
from streams.runtime.settings import PREPARE_S, PROGRESS_S
from streams.runtime.stage import Stage
from streams.runtime.transactions import Failed


async def prepared(stage: Stage, fetched: Sequence[Fetched], waits: Callable[[str | None], None]) -> None:
    """Lets the stage prepare the batch; `waits` hears every `PROGRESS_S` what for, and None at the end. Raises Failed."""
    preparing = asyncio.ensure_future(stage.prepare(fetched))
    try:
        async with asyncio.timeout(PREPARE_S):
            while not (await asyncio.wait((preparing,), timeout=PROGRESS_S))[0]:
                waits(stage.waits_for)
    except TimeoutError as error:
        raise Failed(f"what the batch waits for took longer than {PREPARE_S:.0f} s") from error
    finally:
        preparing.cancel()
        waits(None)
    await preparing
