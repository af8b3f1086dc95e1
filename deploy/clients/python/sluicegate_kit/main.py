"""`run` and `produce`: the whole main program around the one function that you write."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import Any

from sluicegate_kit import quiet
from sluicegate_kit.acting import Act
from sluicegate_kit.errors import KitError
from sluicegate_kit.executor import Executor
from sluicegate_kit.feeding import Decide, Feeding
from sluicegate_kit.producer import Producer
from sluicegate_kit.stopping import Stop, on_signals

BOOTSTRAP = "127.0.0.1:9092"
PREFIX = "sluicegate."
STOP_WITHIN_S = 20.0  # what a stop of `produce` grants to the acknowledgements; as an executor's `stop_within_ms`


def run(act: Act, *, bootstrap: str | None = None, prefix: str | None = None, group: str, **options: Any) -> None:
    """Runs an Executor until SIGTERM or Ctrl-C; a second one ends what still runs at once.

    `bootstrap` and `prefix` are $SLUICEGATE_BOOTSTRAP and $SLUICEGATE_PREFIX if not given. `options` as for Executor.
    Ends the process with a line on stderr: 2 start refused, 3 no broker, 4 the store failed.
    """
    _main(_run(act, bootstrap, prefix, group, options))


def produce(decide: Decide, *, bootstrap: str | None = None, prefix: str | None = None, **options: Any) -> int:
    """Sends every decision that the function yields; returns how many, all of them acknowledged.

    At SIGTERM or Ctrl-C it takes no more of them, waits at most 20 s for the acknowledgements of what is under way, and
    returns; a second one ends that wait. `bootstrap` and `prefix` as for `run`, `options` as for Producer. Ends the
    process with a line on stderr: 2 for a decision that cannot be sent (those before it are sent), 3 no broker, or
    decisions that were not acknowledged.
    """
    count = _main(_produce(decide, bootstrap, prefix, options))
    assert isinstance(count, int)
    return count


def _main(work: Any) -> Any:
    quiet.set_up()
    try:
        return asyncio.run(work)
    except KitError as error:
        _say(f"sluicegate-kit: {error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # before the signals were listened to, or after
        sys.exit(128 + signal.SIGINT)


def _say(line: str) -> None:
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a stderr that is closed, or none
        sys.stderr.write(line + "\n")


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

    running = asyncio.create_task(executor.run())

    def stop() -> None:
        nonlocal stops
        stops += 1
        executor.stop(now=stops > 1)
        if not executor.is_acting:
            running.cancel()  # it still waits for a broker or a store

    with on_signals(stop):
        await asyncio.wait({running})
    if not running.cancelled():
        running.result()


async def _produce(decide: Decide, bootstrap: str | None, prefix: str | None, options: dict[str, Any]) -> int:
    bootstrap, prefix = _where(bootstrap, prefix)
    try:
        producer = Producer(bootstrap, prefix=prefix, **options)
    except TypeError as error:
        raise KitError(f"the options are refused: {error}") from error
    stop = Stop(STOP_WITHIN_S)
    with on_signals(stop):
        starting = asyncio.create_task(producer.__aenter__())
        waits: list[asyncio.Future[Any]] = [starting, stop.asked]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=STOP_WITHIN_S)
            return 0
        starting.result()
        feeding = Feeding(producer, stop)
        try:
            await feeding.run(decide)
        finally:
            await producer.close(0)  # whatever could arrive has arrived
    return feeding.sent
