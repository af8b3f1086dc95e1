"""What `policy diff` tells: every field with its path, rules by name, and nothing that only looks different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from agents.backtest.differences import Difference, differences
from agents.cli.diff import diff
from schemas.policy import PolicyDocument
from streams.errors import ConfigurationError

POLICY = """\
workflow: billing
version: 3
freshness: {budget: 10m}
boundary:
  rules:
    - {name: odd, when: {segment: {equals: odd}}, then: escalate}
    - {name: small, then: autonomous, limits: {value_minor_at_most: 5000, currency: USD}}
"""


def document(rules: list[dict[str, Any]], **more: Any) -> PolicyDocument:
    whole = {"workflow": "w", "version": 1, "freshness": {"budget": "10m"}, "boundary": {"rules": rules}, **more}
    return msgspec.convert(whole, PolicyDocument)


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "then": "escalate", **more}


def test_a_document_does_not_differ_from_itself_nor_from_its_defaults() -> None:
    plain = document([rule("a")])
    spelt = document([rule("a", shadow=False)], freshness={"budget": "10m", "on_stale": "drop"})
    assert differences(plain, plain) == differences(plain, spelt) == []


def test_fields_are_told_with_their_paths() -> None:
    before = document([rule("a", when={"segment": {"equals": "x"}})])
    after = document([rule("a", when={"segment": {"equals": "y"}})], freshness={"budget": "5m", "total": "1h"})
    assert differences(before, after) == [
        Difference("changed", "freshness.budget", "10m", "5m"),
        Difference("added", "freshness.total", None, "1h"),
        Difference("changed", "boundary.rules[a].when.segment.equals", "x", "y"),
    ]


def test_true_is_not_one() -> None:
    before, after = (document([rule("a", when={"attributes.n": {"equals": value}})]) for value in (1, True))
    assert [one.path for one in differences(before, after)] == ["boundary.rules[a].when.attributes.n.equals"]


def test_rules_are_added_removed_and_moved_by_name() -> None:
    before = document([rule(name) for name in "abcd"])
    after = document([rule(name) for name in "dabx"])
    found = {(one.kind, one.path, one.before, one.after) for one in differences(before, after) if one.kind == "moved"}
    assert found == {("moved", "boundary.rules[d]", 4, 1)}
    kinds = {(one.kind, one.path) for one in differences(before, after)}
    assert kinds == {
        ("moved", "boundary.rules[d]"),
        ("removed", "boundary.rules[c]"),
        ("added", "boundary.rules[x]"),
    }


def run(*arguments: object) -> Result:
    return CliRunner().invoke(diff, [str(one) for one in arguments])


def test_the_command_says_in_its_exit_code_whether_they_differ(tmp_path: Path) -> None:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(POLICY)
    after.write_text(POLICY.replace("version: 3", "version: 4").replace("5000", "7000"))
    same, different = run(before, before), run(before, after)
    assert (same.exit_code, same.stdout) == (0, "billing@3 -> billing@3: the same\n")
    assert different.exit_code == 1
    assert different.stdout.splitlines() == [
        "billing@3 -> billing@4",
        "  ~ version: 3 -> 4",
        "  ~ boundary.rules[small].limits.value_minor_at_most: 5000 -> 7000",
    ]
    told = json.loads(run(before, after, "--output", "json").stdout)
    assert told["same"] is False
    assert told["workflows"][0]["differences"][1] == {
        "kind": "changed",
        "path": "boundary.rules[small].limits.value_minor_at_most",
        "before": 5000,
        "after": 7000,
    }


def test_folders_differ_in_their_workflows_too(tmp_path: Path) -> None:
    for name, workflows in (("a", ("billing",)), ("b", ("billing", "payout"))):
        (tmp_path / name).mkdir()
        for workflow in workflows:
            (tmp_path / name / f"{workflow}.yaml").write_text(POLICY.replace("billing", workflow))
    found = run(tmp_path / "a", tmp_path / "b")
    assert found.exit_code == 1
    assert "nothing -> payout@3\n  + the workflow payout: payout@3\n" in found.stdout


def test_what_cannot_be_read_is_told_with_its_own_name(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(POLICY.replace("budget: 10m", "budget: 10"))
    for path, said in ((wrong, rf"{wrong}: freshness\.budget: found 10"), (tmp_path / "none", "none cannot be read")):
        with pytest.raises(ConfigurationError, match=said):
            raise run(path, path).exception or AssertionError("it was read")
