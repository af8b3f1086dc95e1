"""The fixture `sluicegate_try`, as a user has it: a pytest of its own, a `sluicegate` command, and no Kafka."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KIT = ROOT / "deploy" / "clients" / "python"
SLUICEGATE = Path(sys.executable).with_name("sluicegate")

POLICY = """\
workflow: payout
version: 1
freshness: {budget: 10m}
boundary:
  rules:
    - name: small
      then: autonomous
      limits: {value_minor_at_most: 25000, currency: EUR}
"""
TESTS = """\
import pytest

from sluicegate_kit import Decision
from sluicegate_kit.errors import KitError

NOW_MS = 1_764_000_000_000


def payout(number, **fields):
    return {
        "id": f"p-{number}",
        "workflow": "payout",
        "entity": "acct-17",
        "action": {"type": "pay"},
        "observed_at_ms": NOW_MS,
        "value_minor": 1_250,
        "currency": "EUR",
        **fields,
    }


def test_each_disposition(sluicegate_try):
    tried = sluicegate_try(
        policies="policies/", decisions=[payout(1), payout(2, value_minor=900_000), "no decision", payout(1)]
    )
    assert [(one.disposition, one.reason) for one in tried] == [
        ("command", "within_bounds"),
        ("review", "value_over_limit"),
        ("exception", "invalid.json"),
        ("exception", "duplicate.repeat"),
    ]
    assert tried[0].record["action"] == {"type": "pay"}
    assert [one.rule for one in tried] == ["small", "small", None, None]
    assert tried[0].key == "acct-17"
    assert tried[0].headers["ce_type"] == "sluicegate.command.v1"
    assert tried[2].headers["__sluicegate.errors.reason"] == "invalid.json"


def test_the_clock_is_the_tests(sluicegate_try):
    def reason(**clock):
        (tried,) = sluicegate_try(policies="policies/", decisions=[payout(1)], **clock)
        return tried.reason

    assert reason() == "within_bounds"
    assert reason(age_ms=599_999) == "within_bounds"
    assert reason(age_ms=600_000) == "stale.age"
    assert reason(at_ms=NOW_MS + 600_000) == "stale.age"


def test_a_decision_of_the_kit(sluicegate_try):
    (tried,) = sluicegate_try(policies="policies/", decisions=[Decision(**payout(1))])
    assert tried.disposition == "command"


def test_no_decisions(sluicegate_try):
    assert sluicegate_try(policies="policies/", decisions=[]) == []


def test_an_executors_function(sluicegate_act):
    command = {"workflow": "payout", "action": {"type": "pay"}}
    assert sluicegate_act(lambda one: "paid", command).detail == "paid"
    halted = sluicegate_act(pytest.fail, command, halts=[{"workflow": "payout"}])
    assert (halted.status, halted.detail) == ("refused", "workflow 'payout' is halted by a test: it is tried")


def test_what_is_wrong_is_said(sluicegate_try, tmp_path):
    with pytest.raises(KitError, match="is not a folder"):
        sluicegate_try(policies=tmp_path / "none", decisions=[payout(1)])
    with pytest.raises(KitError, match="decision 1 is not one line"):
        sluicegate_try(policies="policies/", decisions=[payout(1), "a\\nb"])
    with pytest.raises(KitError, match="decision 0 is not one line"):
        sluicegate_try(policies="policies/", decisions=[" "])
"""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "payout.yaml").write_text(POLICY)
    (tmp_path / "test_payout.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def pytest_in(folder: Path, path: str, command: str | None, *arguments: str) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("SLUICEGATE_COMMAND", "PATH")}
    environment |= {"PYTHONPATH": str(KIT), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    if command is not None:
        environment["SLUICEGATE_COMMAND"] = command
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "sluicegate_kit.testing", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_users_tests_pass_with_the_command_by_name(users: Path) -> None:
    code, said = pytest_in(users, os.environ["PATH"], str(SLUICEGATE))
    assert code == 0, said
    assert re.search(r"\b6 passed", said)


def test_the_command_on_the_path_is_found_and_the_policies_from_any_folder(users: Path) -> None:
    (users / "inner").mkdir()
    arguments = ("--rootdir", str(users), str(users / "test_payout.py"), "-k", "no_decisions or of_the_kit")
    code, said = pytest_in(users / "inner", f"{SLUICEGATE.parent}{os.pathsep}{os.environ['PATH']}", None, *arguments)
    assert code == 0, said
    assert re.search(r"\b2 passed", said)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (None, "there is no `sluicegate` command on the PATH: install Sluicegate in an environment of its own"),
        ("/nowhere/sluicegate", "/nowhere/sluicegate try --policies policies/"),
        (f"{sys.executable} -c 'print(1)'", "answered 1 of 4 decisions"),
    ],
)
def test_a_command_that_is_not_there_or_not_ours_is_an_error_that_says_so(
    users: Path, tmp_path: Path, command: str | None, expected: str
) -> None:
    code, said = pytest_in(users, str(tmp_path / "empty"), command, "-k", "each_disposition")
    assert code == 1, said
    assert expected in said


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((KIT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert import_module(module).sluicegate_try
