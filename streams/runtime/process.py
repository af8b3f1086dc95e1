"""The life of a worker process: start, work, drain on SIGTERM within a bound, or end at once with one line.

A promise that cannot be kept ends the process where it stands, with `os._exit`: an orderly stop would commit and
clean up what is in doubt, and a SIGKILL must be survivable anyway.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import structlog

from streams.errors import SluicegateError
from streams.runtime import logs
from streams.runtime.app import make_app, wire
from streams.runtime.clock import CLOCK
from streams.runtime.health import Health
from streams.runtime.heartbeats import Heartbeats
from streams.runtime.in_force import InForce
from streams.runtime.lanes import Lanes
from streams.runtime.lookup import Lookup
from streams.runtime.metrics import Meter
from streams.runtime.records import Raw, install
from streams.runtime.settings import DRAIN_S, GC_THRESHOLDS, Worker
from streams.runtime.tasks import failure
from streams.runtime.watchdog import Watchdog, watch_loop

log = structlog.get_logger()

LAST_RESORT_S = 2.0  # after a drain, for what is left to end by itself


def die(error: BaseException) -> NoReturn:
    """Ends the process here and now, with one line that says why."""
    code = error.exit_code if isinstance(error, SluicegateError) else 4
    why = str(error) if isinstance(error, SluicegateError) else f"unexpected {type(error).__name__}: {error}"
    logs.last_words(why, None if isinstance(error, SluicegateError) else error)
    os._exit(code)


async def work(
    worker: Worker, meter: Meter, in_force: InForce, beside: Sequence[Callable[[], Awaitable[None]]] = ()
) -> None:
    """Runs the role, and `beside` it what it needs, until SIGTERM or SIGINT, then drains.

    Does not return when something goes wrong: see `die`.
    """
    install(Raw)
    meter.reads(worker.role.inputs)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    watch_loop(loop, die)
    lookup, watching = Lookup(worker.kafka), Lookup(worker.kafka)
    lanes = Lanes(worker, lookup, CLOCK.now_ms, die, meter, CLOCK.trouble)
    watchdog = Watchdog(lanes, watching)
    app = make_app(worker, lanes)
    wire(app, worker, lanes)
    role = worker.role
    heartbeats = Heartbeats(worker.kafka, role.name, role.group, in_force, lanes.settled, CLOCK)
    tasks = [
        asyncio.create_task(_serve(app)),
        asyncio.create_task(in_force.run()),
        asyncio.create_task(watchdog.run()),
        asyncio.create_task(Health(lanes, watchdog, in_force, meter, CLOCK.now_ms, CLOCK).run()),
        *(asyncio.ensure_future(one()) for one in beside),
        asyncio.create_task(heartbeats.run()),
    ]
    for task in tasks:
        task.add_done_callback(_ended)
    gc.collect()
    gc.freeze()  # what lives now lives on: collections need not look at it
    gc.set_threshold(*GC_THRESHOLDS)
    log.debug("started", group=role.group, bootstrap=worker.kafka.bootstrap, prefix=worker.kafka.prefix)
    await stop.wait()
    await _drain(app, lanes, tasks)
    await lookup.stop()
    await watching.stop()


async def _serve(app: Any) -> None:
    await app.start()
    while not app.should_stop:
        await asyncio.sleep(0.2)
        if app.crashed:
            raise app.crash_reason or RuntimeError("Faust ended by itself")


def _ended(task: asyncio.Task[None]) -> None:
    if (error := failure(task)) is not None:
        die(error)


async def _drain(app: Any, lanes: Lanes, tasks: list[asyncio.Task[None]]) -> None:
    """What is in a transaction is finished; what waits is left to the next owner."""
    log.debug("draining")
    # a thread of a library that does not end must not keep the process: nothing is lost without it
    last_resort = threading.Timer(DRAIN_S + LAST_RESORT_S, os._exit, [0])
    last_resort.daemon = True
    last_resort.start()
    for task in tasks:
        task.cancel()
    try:
        async with asyncio.timeout(DRAIN_S):
            await lanes.release()
            await app.stop()
            await asyncio.gather(*tasks, return_exceptions=True)
    except TimeoutError:
        log.warning("the drain took too long and was cut short", seconds=DRAIN_S)
    log.debug("stopped")
