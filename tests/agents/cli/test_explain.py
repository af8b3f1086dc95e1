"""`sluicegate policy explain`: readable for people, whole for programs, and clear about what it cannot explain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agents.cli import explain as command
from agents.cli.explain import Asked, explain
from agents.why.found import Found
from streams.errors import CheckFailed, ConfigurationError
from tests.streams.making import NOW_MS, decision

POLICY = """
workflow: billing
version: 3
freshness: {budget: 10m}
boundary:
  rules:
    - {name: disputed, when: {segment: {equals: x}}, then: block}
    - {name: odd, when: {attributes.a: {in: [1, 2]}}, cel: "value_minor > 5", then: escalate}
    - {name: small, then: autonomous, limits: {value_minor_at_most: 1000, currency: USD}}
"""


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    (tmp_path / "billing.yaml").write_text(POLICY)
    return tmp_path


def run(policies: Path, *arguments: str, **fields: Any) -> Any:
    given = json.dumps(decision(**fields))
    return CliRunner().invoke(explain, ["--policies", str(policies), *arguments, "-"], input=given)


def test_a_person_reads_every_rule_and_what_decided(policies: Path) -> None:
    told = run(policies, segment="y", attributes={"a": 3})
    assert told.exit_code == 0, told.output
    assert told.output.startswith("billing@3: age 0 ms of 10")
    assert "segment = 'y', asked: equals 'x': false" in told.output
    assert "attributes.a = 3, asked: in [1, 2]: false" in told.output
    assert "limit: value_over_limit" in told.output
    assert "reviews: value_over_limit by small" in told.output
    assert ["small" in line for line in told.output.splitlines() if "->" in line] == [True]


def test_a_program_gets_all_of_it(policies: Path) -> None:
    told = json.loads(run(policies, "--output", "json", "--at", str(NOW_MS), segment="x").output)
    assert told["outcome"]["reasons"] == ["boundary.blocked"] and told["now_ms"] == NOW_MS
    assert told["outcome"]["record"]["rule"] == "disputed"
    assert [rule["result"] for rule in told["steps"][0]] == ["holds", "unknown", "not asked"]


@pytest.mark.parametrize("given", ["", "{", "[]", '{"workflow": "w"}'])
def test_what_cannot_be_explained_is_said(policies: Path, given: str) -> None:
    told = CliRunner().invoke(explain, ["--policies", str(policies), "-"], input=given)
    assert isinstance(told.exception, ConfigurationError)


def test_a_file_or_an_id_not_both(policies: Path) -> None:
    assert run(policies, "--id", "d-1").exit_code == 2
    assert CliRunner().invoke(explain, ["--policies", str(policies)]).exit_code == 2


def test_a_recorded_decision_is_explained_at_its_own_time(policies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"topic": "t.decisions", "partition": 1, "offset": 7}
    body = {"kind": "disposition", "gated_at_ms": NOW_MS + 600_000, "context_version_seen": None, "source": source}
    recorded = [
        Found("decisions", "t.decisions", 1, 7, NOW_MS, decision(segment="y")),
        Found("exceptions", "t.exceptions", 1, 0, NOW_MS, body),
    ]

    async def gather(*_: object) -> list[Found]:
        return recorded

    monkeypatch.setattr(command, "gather", gather)
    arguments = ["--policies", str(policies), "--id", "d-1", "--output", "json"]
    told = json.loads(CliRunner().invoke(explain, arguments).output)
    assert (told["now_ms"], told["outcome"]["reasons"]) == (NOW_MS + 600_000, ["stale.age"])
    recorded.clear()
    assert isinstance(CliRunner().invoke(explain, arguments).exception, CheckFailed)


def test_what_is_on_record_may_be_nothing_but_the_decision() -> None:
    assert Asked(b"{}").now_ms is None
