"""What to try next: lines that run as they stand, in the folder where the demo was started."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import agents.workflows.billing as pack

POLICIES = Path(pack.__file__).parent
SHORT_S = 5  # of traffic, where the demo is only the way to something that stays


@dataclass(frozen=True, slots=True)
class Step:
    """`ends` is false for what goes on until Ctrl-C."""

    about: str
    line: str
    ends: bool = True


def next_steps() -> list[Step]:
    """Without the demo's broker, which is gone."""
    program, python, policies = program_name(), python_name(), policies_name()
    decisions = f"{python} -m agents.workflows.billing --count 40"
    return [
        Step("the rules that decided", f"{program} policy check {policies}"),
        Step(
            "40 other decisions under these rules, without a Kafka",
            f"{decisions} | {program} try --policies {policies} -",
        ),
        Step(
            "the same if each took 21 s, where the budget is 20 s",
            f"{decisions} | {program} try --policies {policies} --age 21s -",
        ),
        Step(
            "a short demo that stays afterwards, to be looked at with tail, audit and its metrics",
            f"{program} demo --seconds {SHORT_S} --keep",
            ends=False,
        ),
        Step("a Kafka of three nodes, for decisions of your own", f"{program} broker --nodes 3", ends=False),
    ]


def looking_around(bootstrap: str, prefix: str, metrics_port: int) -> list[Step]:
    """With the demo's broker, worker and executor, which go on."""
    program, python = program_name(), python_name()
    steps = [
        Step("first, for all the others", f"export SLUICEGATE_BOOTSTRAP={bootstrap} SLUICEGATE_PREFIX={prefix}"),
        Step("what was not acted on, and why", f"{program} tail exceptions --from-beginning -n 5"),
        Step("20 decisions more", f"{python} -m agents.workflows.billing --count 20 | {program} send -"),
        Step("what the executor said to the commands", f"{program} tail receipts --from-beginning -n 10"),
        Step("what waits for a person", f"{program} reviews list"),
        Step("who put which policy in force", f"{program} policy history"),
        Step("nothing is acted on any more ...", f"{program} halt --workflow billing --why drill"),
        Step("... and now it is again", f"{program} resume --workflow billing --why 'the drill is over'"),
        Step("are the promises kept?", f"{program} audit --group {prefix}gate"),
    ]
    if shutil.which("curl"):
        metrics = f"curl -s http://127.0.0.1:{metrics_port}/metrics"
        steps.append(Step("what Prometheus sees: ages by budget", f"{metrics} | grep age_budget_ratio"))
    return steps


def program_name() -> str:
    """How the one who called us can call us again."""
    return _callable_as("sluicegate")


def python_name() -> str:
    return _callable_as("python", Path(sys.executable).name)


def policies_name() -> str:
    return os.path.relpath(POLICIES) if POLICIES.is_relative_to(Path.cwd()) else str(POLICIES)


def _callable_as(name: str, beside: str | None = None) -> str:
    found = Path(sys.executable).parent / (beside or name)
    on_path = shutil.which(name)
    if on_path and Path(on_path).resolve() == found.resolve() and Path(on_path).parent == found.parent:
        return name
    return os.path.relpath(found) if found.is_relative_to(Path.cwd()) else str(found)
