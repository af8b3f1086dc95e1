"""What ended a task: us, an error, or a client that cancels what waits on a connection which broke."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.errors import PromiseBroken
from streams.runtime.tasks import closed, failure


async def cancelled_inside() -> None:
    waited = asyncio.get_running_loop().create_future()
    waited.cancel()
    await waited


async def raising(error: BaseException) -> None:
    raise error


async def test_a_cancellation_that_is_not_ours_is_a_failure() -> None:
    theirs = asyncio.create_task(cancelled_inside(), name="the reader")
    ours = asyncio.create_task(asyncio.sleep(60))
    wrong, fine = asyncio.create_task(raising(KeyError("x"))), asyncio.create_task(asyncio.sleep(0))
    await asyncio.sleep(0)
    ours.cancel()
    await asyncio.wait({theirs, ours, wrong, fine})
    assert isinstance(failure(theirs), PromiseBroken)
    assert str(failure(theirs)) == "the reader was cancelled, and not by us"
    assert isinstance(failure(wrong), KeyError)
    assert failure(ours) is None and failure(fine) is None


@pytest.mark.parametrize(
    "stopping",
    [
        cancelled_inside,
        lambda: raising(KafkaConnectionError()),
        lambda: raising(OSError()),
        lambda: raising(TimeoutError()),
        lambda: asyncio.sleep(60),
    ],
)
async def test_a_client_that_takes_its_leave_badly_is_left_all_the_same(
    stopping: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    await closed(stopping(), 0.05)


async def test_a_mistake_of_ours_on_the_way_out_is_told() -> None:
    with pytest.raises(KeyError):
        await closed(raising(KeyError("x")), 1.0)


async def test_who_is_cancelled_while_a_client_stops_is_cancelled() -> None:
    ended = asyncio.Event()

    async def stop() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(closed(stop(), 60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(ended.wait(), 5)
