"""The demo from the empty folder to the verdict: broker, topics, worker, traffic, audit, report, and all ended."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agents.workflows.billing as pack
from agents.cli.client import quiet_client_logs
from agents.cli.options import DEFAULT_PREFIX
from agents.demo.children import (
    ChildFailed,
    deaf_to_signals,
    end,
    once,
    running,
    terminated_like_interrupted,
)
from agents.demo.replay import Pace, Replay
from agents.demo.report import Result
from agents.demo.tally import Tally
from agents.demo.traffic import Traffic
from agents.workflows.billing.events import Origin
from streams.errors import PromiseBroken
from streams.runtime.broker import Broker, BrokerConfig

POLICIES = Path(pack.__file__).parent
AUDIT_S = 120
TOPICS_S = 60
SEED = 20190201  # the day on which the surcharge began


@dataclass(frozen=True, slots=True)
class DemoConfig:
    pace: Pace
    keep: bool = False


def run(config: DemoConfig, say: Callable[[str], None], report: Callable[[Result], None]) -> Result:
    """Returns when nothing of it runs any more; `report` is called while everything still does."""
    quiet_client_logs()
    with terminated_like_interrupted(), ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="sluicegate-demo-"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        broker = _broker(stack, say)
        _topics(broker.bootstrap)
        worker_log = scratch / "worker.log"
        arguments = ["worker", "--policies", str(POLICIES), "--bootstrap", broker.bootstrap, "--prefix", DEFAULT_PREFIX]
        arguments += ["--data", str(scratch / "worker"), "--metrics-port", "0"]
        worker = stack.enter_context(running(arguments, worker_log))

        def check() -> None:
            if worker.poll() is not None:
                raise ChildFailed("the worker", worker.returncode, worker_log)

        tally = Tally()
        traffic = Traffic(config.pace.count, Origin(SEED, run="demo"))
        replay = Replay(broker.bootstrap, DEFAULT_PREFIX, config.pace, traffic, tally, check, say)
        say(f"a worker starts; then {config.pace.rate_per_s} decisions a second for {config.pace.seconds} s")
        if not asyncio.run(replay.run()):
            say(f"{replay.sent - tally.answered} of {replay.sent} decisions were not answered in time")
        if not config.keep:
            end(worker)
        result = Result(replay.sent, tally, _audit(broker.bootstrap))
        report(result)
        if config.keep:
            _keep(broker.bootstrap, say, check)
    return result


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


def _keep(bootstrap: str, say: Callable[[str], None], check: Callable[[], None]) -> None:
    """Until Ctrl-C, which is the way to end it."""
    program = program_name()
    say("\nIt goes on running until Ctrl-C. To look around, in another terminal, in this folder:\n")
    for line in (
        f"export SLUICEGATE_BOOTSTRAP={bootstrap}",
        f"{program} tail exceptions --from-beginning -n 5",
        f"{python_name()} -m agents.workflows.billing --count 20 | {program} send -",
        f"{program} tail commands --from-beginning",
        f"{program} audit --group {DEFAULT_PREFIX}gate",
    ):
        say(f"  {line}")
    try:
        while True:
            check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("ending")


def program_name() -> str:
    """How the one who called us can call us again."""
    return _callable_as("sluicegate")


def python_name() -> str:
    return _callable_as("python", Path(sys.executable).name)


def _callable_as(name: str, beside: str | None = None) -> str:
    found = Path(sys.executable).parent / (beside or name)
    on_path = shutil.which(name)
    if on_path and Path(on_path).resolve() == found.resolve() and Path(on_path).parent == found.parent:
        return name
    return os.path.relpath(found) if found.is_relative_to(Path.cwd()) else str(found)
