"""One worker process: reads its settings, refuses a bad start, wires the role and works. The supervisor starts it.

python -m agents.worker ROLE --bootstrap ... --prefix ... --group ...
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from pathlib import Path

from agents.roles import ROLES, Given
from streams.errors import BrokerUnreachable, ConfigurationError, SluicegateError
from streams.headers import HeaderSettings
from streams.runtime import logs, topics
from streams.runtime.in_force import InForce
from streams.runtime.living import other_group
from streams.runtime.metrics import Meter
from streams.runtime.metrics_board import Board
from streams.runtime.process import work
from streams.runtime.settings import COMPRESSIONS, Kafka, Worker
from streams.runtime.transactions import Failed
from streams.window import IDS_MAX


def main(arguments: list[str]) -> int:
    """The exit code of the process, when it ends in an orderly way."""
    given = _parser().parse_args(arguments)
    logs.configure(given.role, given.log_format, given.log_level, given.prefix)
    _end_with_the_supervisor()
    try:
        asyncio.run(_run(given))
    except SluicegateError as error:
        logs.last_words(str(error))
        return error.exit_code
    return 0


async def _run(given: argparse.Namespace) -> None:
    kafka = Kafka(given.bootstrap, given.prefix)
    found = await topics.require(kafka.bootstrap, kafka.prefix)
    for warning in [] if _is_supervised() else found.warnings:  # a supervisor has said so
        logs.warn(warning)
    await _alone(kafka, given.role, given.group)
    meter = Meter(Board.given())
    headers = HeaderSettings(given.group, not given.no_cloudevents)
    limits = (given.window_ids, given.capacity)
    made = ROLES[given.role](
        Given(kafka, given.group, found.partitions, meter, headers, *limits, verdict_keys=given.verdict_keys)
    )
    try:
        await _started(made.in_force)
        await made.check()
        await work(Worker(kafka, made.role, found.partitions, given.compression), meter, made.in_force, made.beside)
    finally:
        await made.close()


async def _alone(kafka: Kafka, role: str, group: str) -> None:
    """Refuses to work beside another group, before it would fence that one."""
    try:
        told = await other_group(kafka, role, group)
    except Failed as error:
        raise BrokerUnreachable(str(error)) from error
    if told is not None:
        raise ConfigurationError(told)


async def _started(in_force: InForce) -> None:
    try:
        await in_force.start()
    except Failed as error:
        raise BrokerUnreachable(str(error)) from error


def _is_supervised() -> bool:
    return os.environ.get("SLUICEGATE_SUPERVISED") == "1"


def _end_with_the_supervisor() -> None:
    """The supervisor holds the other end of stdin: when it is gone, however it went, this process drains.

    Read from the descriptor: `sys.stdin` has a lock, and a thread that holds it makes the interpreter abort at its end.
    """
    if not _is_supervised():
        return

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor", daemon=True).start()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agents.worker")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--window-ids", type=int, default=IDS_MAX)
    parser.add_argument("--capacity", type=float)
    parser.add_argument("--verdict-keys", type=Path)
    parser.add_argument("--no-cloudevents", action="store_true")
    parser.add_argument("--compression", choices=COMPRESSIONS, default="none")
    parser.add_argument("--log-format", choices=("console", "json"), default="console")
    parser.add_argument("--log-level", choices=logs.LEVELS, default=os.environ.get(logs.LEVEL_VARIABLE, "info"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
