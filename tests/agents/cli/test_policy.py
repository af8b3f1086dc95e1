"""`sluicegate policy check`: exit code 0 or 2, faults on stderr, and the same as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agents.cli.main import main
from tests.streams.runtime.test_policies import HEAD, RIGHT, write


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["sluicegate", "policy", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_folder_that_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", write(tmp_path, a=RIGHT)) == 0
    assert capsys.readouterr() == ("billing@3: budget 600000 ms, 2 rules\n", "")


def test_faults_go_to_stderr_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", write(tmp_path, a=RIGHT, b=HEAD + "    - {name: a, then: maybe}")) == 2
    out, err = capsys.readouterr()
    assert out == "billing@3: budget 600000 ms, 2 rules\n"
    fault = "boundary.rules[0].then: found 'maybe', expected autonomous, escalate or block"
    assert err == f"{tmp_path}/b.yaml: {fault}\n"


def test_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path, a=RIGHT)
    policy = {
        "policy": "billing@3",
        "budget_ms": 600_000,
        "total_ms": 1_800_000,
        "skew_tolerance_ms": 2_000,
        "rules": 2,
    }
    assert run(monkeypatch, "check", folder, "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "policies": [policy], "faults": []}
    write(folder, b="")
    assert run(monkeypatch, "check", folder, "--output", "json") == 2
    fault = {"file": f"{folder}/b.yaml", "path": "", "found": "nothing", "expected": "fields with values"}
    assert json.loads(capsys.readouterr().out) == {"ok": False, "policies": [policy], "faults": [fault]}


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_folder_or_no_policy_in_it_is_exit_code_2(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", tmp_path / folder) == 2
    assert capsys.readouterr().err.startswith(f"sluicegate: {tmp_path / folder} ")


def test_without_a_folder_it_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "check") == 2
