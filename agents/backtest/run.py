"""A backtest on all cores: each process replays partition numbers, the results are added up."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from agents.backtest.documents import packed
from agents.backtest.read import Asked, Job, Plan, plan, replayed
from agents.cli.client import quiet_client_logs
from streams.backtest import Tally
from streams.policy import Policy
from streams.runtime.records import Lenient, Raw, install

PROCESSES_MAX = 8  # beyond that the broker is what is waited for
SMALL_RECORDS = 40_000  # fewer are read sooner than another process starts
TELL_S = 0.2
_heard: list[Any] = []  # in a process of the pool: where it tells how far it is


@dataclass(frozen=True)
class Backtest:
    """What came of it, and what it rests on."""

    asked: Asked
    plan: Plan
    tally: Tally


def backtest(
    asked: Asked,
    candidate: Sequence[Policy],
    against: Sequence[Policy] | None,
    progress: Callable[[int, int], None],
    processes: int | None = None,
) -> Backtest:
    """Replays the recording; `progress` hears how many records of how many went by.

    `against`: the policies to compare with, None for what was recorded. Raises ConfigurationError where there is
    nothing to replay, BrokerUnreachable, and CheckFailed where an open transaction hides some of it.
    """
    documents = packed(candidate), None if against is None else packed(against)
    found = asyncio.run(plan(asked, candidate, against, documents))
    total = sum(job.records for job in found.jobs)
    count = min(processes or os.cpu_count() or 1, len(found.jobs), PROCESSES_MAX)
    tally = Tally()
    run = _here if count < 2 or total < SMALL_RECORDS else _in_processes
    for one in run(found.jobs, count, lambda done: progress(done, total)):
        tally.join(one, asked.examples_max)
    return Backtest(asked, found, tally)


def _here(jobs: Sequence[Job], _: int, told: Callable[[int], None]) -> list[Tally]:
    done, found = 0, list[Tally]()

    def passed(count: int) -> None:
        nonlocal done
        done += count
        told(done)

    install(Lenient)  # others in this process may want records with all that belongs to them
    for job in jobs:
        found.append(asyncio.run(replayed(job, passed)))
    return found


def _in_processes(jobs: Sequence[Job], count: int, told: Callable[[int], None]) -> list[Tally]:
    context = multiprocessing.get_context("spawn")  # a fork would share this process's sockets and threads
    heard = context.Queue()
    done = 0
    with ProcessPoolExecutor(count, context, _begin, (heard,)) as pool:
        # the largest first, so that no process is left with it in the end
        futures = [pool.submit(_one, job) for job in sorted(jobs, key=lambda job: -job.records)]
        try:
            waiting: set[Future[Tally]] = set(futures)
            while waiting:
                ended, waiting = wait(waiting, TELL_S, FIRST_EXCEPTION)
                for future in ended:
                    future.result()
                done += _counted(heard)
                told(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _counted(heard: Any) -> int:
    count = 0
    while True:
        try:
            count += heard.get_nowait()
        except queue.Empty:
            return count


def _begin(heard: Any) -> None:
    _heard.append(heard)
    quiet_client_logs()
    install(Raw)


def _one(job: Job) -> Tally:
    return asyncio.run(replayed(job, _heard[0].put))
