"""The demo's executor acts on most lines, meets every trouble now and then, and finds its kit in the checkout."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from sluicegate_kit import Command, Refuse

from agents.demo import kit
from agents.demo.executor import TIME_LIMIT_MS, post


def command(decision_id: str) -> Command:
    return Command(
        command_id="c-1",
        workflow="billing",
        entity="acct-1",
        action_json=msgspec.Raw(b'{"type": "invoice.post", "total_minor": 1250, "currency": "USD"}'),
        gated_at_ms=0,
        deadline_ms=1,
        decision_id=decision_id,
    )


def became(decision_id: str, monkeypatch: pytest.MonkeyPatch) -> str:
    slept_s: list[float] = []
    monkeypatch.setattr(time, "sleep", slept_s.append)
    try:
        detail = post(command(decision_id))
    except Refuse:
        return "refused"
    except OSError:
        return "failed"
    assert detail == "12.50 USD posted"
    assert slept_s[0] <= 0.005
    return "unknown" if sum(slept_s) * 1000 > TIME_LIMIT_MS else "executed"


def test_each_end_comes_and_the_same_decision_ends_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [became(f"d-{number}", monkeypatch) for number in range(3000)]
    found = Counter(ends)
    assert set(found) == {"executed", "refused", "failed", "unknown"}
    assert found["executed"] > 2900
    assert ends[:200] == [became(f"d-{number}", monkeypatch) for number in range(200)]


def test_a_checkout_has_its_kit_on_the_executors_path_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    path = kit.kit_path()
    assert path == str(kit.IN_CHECKOUT)
    environment = kit.environment(path, "127.0.0.1:1", "p.")
    assert environment["PYTHONPATH"].split(os.pathsep)[1] == "elsewhere"
    found = subprocess.run(
        [sys.executable, "-P", "-c", "import sluicegate_kit; print(sluicegate_kit.__file__)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.startswith(path)


def test_without_a_checkout_the_installed_kit_is_taken_or_there_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kit, "IN_CHECKOUT", tmp_path)
    assert kit.kit_path() == ""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert kit.kit_path() is None
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "PYTHONPATH" not in kit.environment("", "127.0.0.1:1", "p.")
