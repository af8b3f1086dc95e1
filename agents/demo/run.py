"""The demo from the empty folder to the verdict: broker, worker, executor, traffic, audit, report; and all ended."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.cli.client import quiet_client_logs
from agents.cli.options import DEFAULT_PREFIX
from agents.demo import kit
from agents.demo.children import (
    SLUICEGATE,
    ChildFailed,
    deaf_to_signals,
    end,
    once,
    running,
    terminated_like_interrupted,
)
from agents.demo.replay import Pace, Replay
from agents.demo.report import Result
from agents.demo.steps import POLICIES, Step, looking_around
from agents.demo.tally import Tally
from agents.demo.traffic import Traffic
from agents.demo.watch import Moment, Watch
from agents.workflows.billing.events import Origin
from streams.errors import PromiseBroken
from streams.runtime.broker import Broker, BrokerConfig
from streams.runtime.broker.sockets import free_port
from streams.runtime.children import Process

AUDIT_S = 120
TOPICS_S = 60
SEED = 20190201  # the day on which the surcharge began


@dataclass(frozen=True, slots=True)
class DemoConfig:
    pace: Pace
    keep: bool = False


def run(config: DemoConfig, watch: Watch, report: Callable[[Result], None]) -> Result:
    """Returns when nothing of it runs any more; `report` is called while everything still does, if it is to be kept.

    Raises ChildFailed when the worker or the executor ended by itself, PromiseBroken without topics or a verdict, and
    what the broker raises where it cannot start.
    """
    quiet_client_logs()
    with terminated_like_interrupted(), ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="sluicegate-demo-"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        broker = _broker(stack, watch.say)
        _topics(broker.bootstrap)
        metrics_port = free_port() if config.keep else 0
        children = {"the worker": _worker(stack, broker.bootstrap, scratch, metrics_port)}
        executor = _executor(stack, broker.bootstrap, scratch, watch.say)
        if executor:
            children["the executor"] = executor

        def check() -> None:
            for what, child in children.items():
                if child.code is not None:
                    raise ChildFailed(what, child.code, _log(scratch, what))

        stack.callback(watch.close)
        tally = Tally()
        traffic = Traffic(config.pace.count, Origin(SEED, run="demo"))
        replay = Replay(
            broker.bootstrap, DEFAULT_PREFIX, config.pace, traffic, tally, check, watch, executor is not None
        )
        pace = f"{config.pace.rate_per_s} decisions a second for {config.pace.seconds} s"
        watch.say(f"{' and '.join(children)} start; then {pace}")
        if not _replayed(replay, watch):
            watch.say(
                f"not in time: answers to {replay.sent - tally.answered} of {replay.sent} decisions, "
                f"receipts for {tally.receipts.awaited} of {tally.kinds['commands']} commands"
            )
        scene = "the audit reads every topic from its start"
        watch.look(Moment(config.pace.seconds, replay.sent, config.pace.count, scene), tally)
        if not config.keep:
            end(*children.values())
        result = Result(replay.sent, tally, _audit(broker.bootstrap), executes=executor is not None)
        watch.close()
        report(result)
        if config.keep:
            _keep(looking_around(broker.bootstrap, DEFAULT_PREFIX, metrics_port), watch.say, check)
    return result


def _replayed(replay: Replay, watch: Watch) -> bool:
    try:
        return asyncio.run(replay.run())
    except KeyboardInterrupt:
        watch.close()
        watch.say("interrupted: executor, worker and broker are ended")
        raise


def _log(scratch: Path, what: str) -> Path:
    return scratch / f"{what.removeprefix('the ')}.log"


def _worker(stack: ExitStack, bootstrap: str, scratch: Path, metrics_port: int) -> Process:
    arguments = ["worker", "--policies", str(POLICIES), "--bootstrap", bootstrap, "--prefix", DEFAULT_PREFIX]
    arguments += ["--metrics-port", str(metrics_port), "--metrics-host", "127.0.0.1"]
    return stack.enter_context(running([*SLUICEGATE, *arguments], _log(scratch, "the worker")))


def _executor(stack: ExitStack, bootstrap: str, scratch: Path, say: Callable[[str], None]) -> Process | None:
    path = kit.kit_path()
    if path is None:
        say("no executor, so no receipts: sluicegate-kit is not installed here, and this is not a checkout that has it")
        return None
    command = [*kit.COMMAND, f"sqlite:///{scratch / 'acted.db'}"]
    environment = kit.environment(path, bootstrap, DEFAULT_PREFIX)
    return stack.enter_context(running(command, _log(scratch, "the executor"), environment))


def _broker(stack: ExitStack, say: Callable[[str], None]) -> Broker:
    broker = Broker(BrokerConfig(), say)

    def close() -> None:
        with deaf_to_signals():
            broker.close()

    stack.callback(close)
    broker.start()
    return broker


def _topics(bootstrap: str) -> None:
    done = once(["topics", "apply", "--bootstrap", bootstrap, "--prefix", DEFAULT_PREFIX], TOPICS_S)
    if done.returncode:
        raise PromiseBroken(f"the demo's topics could not be created: {_said(done)}")


def _audit(bootstrap: str) -> dict[str, Any]:
    done = once(["audit", "--bootstrap", bootstrap, "--prefix", DEFAULT_PREFIX, "--output", "json"], AUDIT_S)
    try:
        verdict: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise PromiseBroken(f"the audit came to no verdict (code {done.returncode}): {_said(done)}") from error
    return verdict


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip()[-1000:] or "it said nothing"


def _keep(steps: list[Step], say: Callable[[str], None], check: Callable[[], None]) -> None:
    """Until Ctrl-C, which is the way to end it."""
    say("\nIt goes on running until Ctrl-C. To look around, in another terminal, in this folder:\n")
    for step in steps:
        say(f"  # {step.about}\n  {step.line}")
    try:
        while True:
            check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("ending")
