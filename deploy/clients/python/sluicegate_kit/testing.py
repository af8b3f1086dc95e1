"""A pytest fixture that tries decisions against your policies: the gate's own rules, a clock you set, no Kafka.

    def test_large_payouts_go_to_a_person(sluicegate_try):
        (tried,) = sluicegate_try(policies="policies/", decisions=[{"id": "d-1", ..., "value_minor": 900_000}])
        assert (tried.disposition, tried.reason) == ("review", "value_over_limit")

Your environment has the kit and not Sluicegate itself, so the fixture runs the `sluicegate` command: the one that
SLUICEGATE_COMMAND names (a path, or a command with its arguments), else the one on the PATH. pytest finds the fixture
by itself once the kit is installed.

And one that tries your executor's function, halts included; it needs no other command:

    def test_a_halt_stops_it(sluicegate_act):
        receipt = sluicegate_act(pay, {"workflow": "payout", "action": {"type": "pay"}}, halts=[{"workflow": "payout"}])
        assert receipt.status == "refused"
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from sluicegate_kit.errors import KitError
from sluicegate_kit.records import Receipt
from sluicegate_kit.settings import shown
from sluicegate_kit.trying import act_on

COMMAND_VARIABLE = "SLUICEGATE_COMMAND"
TRY_S = 120  # a test file of decisions takes seconds; what takes longer hangs
_PREFIX = "sluicegate."
_DISPOSITIONS: dict[str, Literal["command", "review", "exception"]] = {
    "commands": "command",
    "reviews": "review",
    "exceptions": "exception",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What would become of one decision. `record` is the whole record that would be sent, with `key` and `headers`."""

    disposition: Literal["command", "review", "exception"]
    reason: str  # of a review, the first of its `reasons`
    record: dict[str, Any]
    key: str | None
    headers: dict[str, str] = field(default_factory=dict)  # empty from a `sluicegate` that does not tell them

    @property
    def rule(self) -> str | None:
        """The policy's rule that decided; None where none did."""
        found: str | None = self.record.get("rule")
        return found


class Trial:
    """What the fixture `sluicegate_try` gives: call it with policies and decisions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(
        self,
        policies: str | os.PathLike[str],
        decisions: Iterable[Any],
        at_ms: int | None = None,
        age_ms: int | None = None,
    ) -> list[Tried]:
        """What would become of each decision, in their order.

        `policies` is a folder, as seen from pytest's root folder. A decision is a dict or a `Decision` of the kit;
        bytes or text are a line as a producer would send it, good or bad. All are decided at `at_ms` (epoch
        milliseconds), or each `age_ms` after its own observation; without either, at the newest of its own times.

        Raises KitError when the `sluicegate` command cannot be found or does not answer, when a policy is wrong (its
        message names file and path), and when a decision cannot be one line.
        """
        lines = [_line(number, one) for number, one in enumerate(decisions)]
        arguments = ["try", "--policies", os.fspath(policies), "--prefix", _PREFIX, "--output", "json"]
        if at_ms is not None:
            arguments += ["--at", str(at_ms)]
        if age_ms is not None:
            arguments += ["--age", f"{age_ms}ms"]
        command = [*_command(), *arguments, "-"]
        try:
            done = subprocess.run(
                command, input=b"\n".join(lines), capture_output=True, cwd=self._folder, timeout=TRY_S, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise KitError(f"{shlex.join(command)} did not run: {error}") from error
        if done.returncode != 0:
            raise KitError(done.stderr.decode(errors="replace").strip() or f"{shlex.join(command)} failed")
        answers = done.stdout.splitlines()
        if len(answers) != len(lines):
            raise KitError(f"{shlex.join(command)} answered {len(answers)} of {len(lines)} decisions")
        return [_tried(line) for line in answers]


@pytest.fixture
def sluicegate_try(request: pytest.FixtureRequest) -> Trial:
    """Tries decisions against policies without a Kafka: `sluicegate_try(policies="policies/", decisions=[...])`."""
    return Trial(request.config.rootpath)


@pytest.fixture
def sluicegate_act() -> Callable[..., Receipt]:
    """Tries an executor's function on one command, without a Kafka: see `sluicegate_kit.trying.act_on`."""
    return act_on


def _command() -> list[str]:
    if named := os.environ.get(COMMAND_VARIABLE, "").strip():
        try:
            program, *arguments = shlex.split(named, posix=os.name == "posix")
        except ValueError as error:
            raise KitError(f"{COMMAND_VARIABLE} is {shown(named)}: a command is expected ({error})") from error
        return [os.path.expanduser(program), *arguments]
    if found := shutil.which("sluicegate"):
        return [found]
    raise KitError(
        f"there is no `sluicegate` command on the PATH: install Sluicegate in an environment of its own and name its "
        f"command in {COMMAND_VARIABLE}, for example {COMMAND_VARIABLE}=~/sluicegate/.venv/bin/sluicegate"
    )


def _line(number: int, decision: Any) -> bytes:
    if isinstance(decision, str):
        decision = decision.encode(errors="surrogatepass")
    try:
        line: bytes = decision if isinstance(decision, bytes) else msgspec.json.encode(decision)
    except Exception as error:
        raise KitError(f"decision {number} cannot be a line of JSON: {error}") from error
    if b"\n" in line or not line.strip():
        raise KitError(f"decision {number} is not one line: {line[:80]!r}")
    return line


def _tried(line: bytes) -> Tried:
    sent = msgspec.json.decode(line)
    record = sent["value"]
    reason = record["reasons"][0] if "reasons" in record else record["reason"]
    return Tried(
        _DISPOSITIONS[sent["topic"].removeprefix(_PREFIX)], reason, record, sent["key"], sent.get("headers", {})
    )
