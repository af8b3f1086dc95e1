"""`run` and `produce`: the whole main program around the one function that you write."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from sluicegate_kit.acting import Act
from sluicegate_kit.decision import Decision
from sluicegate_kit.errors import KitError
from sluicegate_kit.executor import Executor
from sluicegate_kit.producer import Producer, Sent

BOOTSTRAP = "127.0.0.1:9092"
PREFIX = "sluicegate."
UNDER_WAY_MAX = 1000  # decisions sent and not yet acknowledged


def run(act: Act, *, bootstrap: str | None = None, prefix: str | None = None, group: str, **options: Any) -> None:
    """Runs an Executor until SIGTERM or Ctrl-C; a second one ends what still runs at once.

    `bootstrap` and `prefix` are $SLUICEGATE_BOOTSTRAP and $SLUICEGATE_PREFIX if not given. `options` as for Executor.
    Ends the process with a line on stderr: 2 start refused, 3 no broker, 4 the store failed.
    """
    _main(_run(act, bootstrap, prefix, group, options))


def produce(
    decide: Callable[[], Iterable[Decision] | AsyncIterator[Decision]],
    *,
    bootstrap: str | None = None,
    prefix: str | None = None,
    **options: Any,
) -> int:
    """Sends every decision that the function yields; returns how many, all of them acknowledged.

    `bootstrap` and `prefix` as for `run`, `options` as for Producer. Ends the process with a line on stderr: 2 for a
    decision that cannot be sent (those before it are sent), 3 no broker.
    """
    count = _main(_produce(decide, bootstrap, prefix, options))
    assert isinstance(count, int)
    return count


def _main(work: Any) -> Any:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    try:
        return asyncio.run(work)
    except KitError as error:
        sys.stderr.write(f"sluicegate-kit: {error}\n")
        sys.exit(error.exit_code)


def _where(bootstrap: str | None, prefix: str | None) -> tuple[str, str]:
    found = bootstrap if bootstrap is not None else os.environ.get("SLUICEGATE_BOOTSTRAP", BOOTSTRAP)
    return found, prefix if prefix is not None else os.environ.get("SLUICEGATE_PREFIX", PREFIX)


async def _run(act: Act, bootstrap: str | None, prefix: str | None, group: str, options: dict[str, Any]) -> None:
    bootstrap, prefix = _where(bootstrap, prefix)
    try:
        executor = Executor(bootstrap, act, prefix=prefix, group=group, **options)
    except TypeError as error:
        raise KitError(f"the options are refused: {error}") from error
    stops = 0

    def stop() -> None:
        nonlocal stops
        stops += 1
        executor.stop(now=stops > 1)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await executor.run()


async def _produce(
    decide: Callable[[], Iterable[Decision] | AsyncIterator[Decision]],
    bootstrap: str | None,
    prefix: str | None,
    options: dict[str, Any],
) -> int:
    bootstrap, prefix = _where(bootstrap, prefix)
    async with Producer(bootstrap, prefix=prefix, **options) as producer:
        under_way: set[asyncio.Task[Sent]] = set()
        count = 0
        try:
            async for decision in _each(decide):
                under_way.add(await producer.post(decision))
                if len(under_way) >= UNDER_WAY_MAX:
                    done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    count += len([await one for one in done])
        finally:
            count += len(await asyncio.gather(*under_way))
    return count


async def _each(decide: Callable[[], Iterable[Decision] | AsyncIterator[Decision]]) -> AsyncIterator[Decision]:
    decisions = decide()
    if inspect.isasyncgen(decisions) or isinstance(decisions, AsyncIterator):
        async for decision in decisions:
            yield decision
        return
    # a plain generator may wait for its next decision: in a thread it does not hold back what is being sent
    iterator = iter(decisions)
    end = object()
    while (one := await asyncio.to_thread(next, iterator, end)) is not end:
        assert isinstance(one, Decision)
        yield one
