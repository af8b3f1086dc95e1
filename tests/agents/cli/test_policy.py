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
        "on_stale": "drop",
        "max_attempts": 3,
        "segments": {},
        "evaluator": None,
        "context": None,
        "supersede": False,
        "allowance": None,
        "overload": None,
        "rules": 2,
    }
    assert run(monkeypatch, "check", folder, "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "policies": [policy], "faults": []}
    write(folder, b="")
    assert run(monkeypatch, "check", folder, "--output", "json") == 2
    fault = {"file": f"{folder}/b.yaml", "path": "", "found": "nothing", "expected": "fields with values"}
    assert json.loads(capsys.readouterr().out) == {"ok": False, "policies": [policy], "faults": [fault]}


FULL = RIGHT.replace(
    "freshness: {budget: 10m, total: 30m}",
    """
freshness:
  {budget: 10m, total: 30m, on_stale: reevaluate, segments: {vip: {budget: 5m, on_stale: escalate}},
   context: [tariff, rate_card], supersede: true, allowance: {initial: 1s, at_most: 5s},
   overload: {newest_first: true}}
evaluator: {url: "https://me:secret@rater.example:8443/rate?v=1", timeout: 500ms, action_types: [b, a]}""",
)


def test_what_is_set_beside_the_budget_is_told_in_the_same_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", write(tmp_path, a=FULL)) == 0
    assert capsys.readouterr().out == (
        "billing@3: budget 600000 ms, on_stale reevaluate, segment vip budget 300000 ms on_stale escalate, "
        "evaluator https://rater.example:8443/rate?v=1 within 500 ms, at most 3 attempts in 1800000 ms, "
        "context rate_card or tariff, supersede, allowance 1000 ms measured within 0 to 5000 ms, "
        "overload from 25% of the budget newest first, 2 rules\n"
    )
    less = FULL.replace("{initial: 1s, at_most: 5s}", "2s").replace("[tariff, rate_card]", "any")
    less = less.replace("newest_first: true", "start: 0.5")
    assert run(monkeypatch, "check", write(tmp_path, a=less)) == 0
    out = capsys.readouterr().out
    assert "context any, supersede, allowance 2000 ms, overload from 50% of the budget, 2 rules" in out


def test_what_is_set_beside_the_budget_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", write(tmp_path, a=FULL), "--output", "json") == 0
    out = capsys.readouterr().out
    assert "secret" not in out
    (told,) = json.loads(out)["policies"]
    assert told["segments"] == {"vip": {"budget_ms": 300_000, "on_stale": "escalate"}}
    assert told["evaluator"] == {
        "url": "https://rater.example:8443/rate?v=1",
        "function": None,
        "interpreter": None,
        "timeout_ms": 500,
        "concurrency": 16,
        "action_types": ["a", "b"],
    }
    assert (told["on_stale"], told["context"], told["supersede"]) == ("reevaluate", ["rate_card", "tariff"], True)
    assert told["allowance"] == {"initial_ms": 1_000, "at_least_ms": 0, "at_most_ms": 5_000, "measured": True}
    assert told["overload"] == {"start": 0.25, "newest_first": True}


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_no_folder_or_no_policy_in_it_is_exit_code_2(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", tmp_path / folder) == 2
    assert capsys.readouterr().err.startswith(f"sluicegate: {tmp_path / folder} ")


def test_without_a_folder_it_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "check") == 2
