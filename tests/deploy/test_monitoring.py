"""Dashboard, alerts and runbook speak of metrics that exist; what is exported is shown somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from streams.metric_table import BUILD_INFO, FAMILIES, ROLE_FAMILIES, START_TIME, Family
from streams.metrics import REASONS

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOKS = {name: (DEPLOY / "runbooks" / name).read_text() for name in ("worker.md", "freshness.md")}
DASHBOARD = json.loads((DEPLOY / "dashboards" / "sluicegate.json").read_text())
RULE_FILES = {path: YAML(typ="safe").load(path.read_text()) for path in sorted(DEPLOY.glob("alerts/*.rules.yaml"))}
GROUPS = [group for file in RULE_FILES.values() for group in file["groups"]]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]


def exported() -> dict[str, Family]:
    """Every sample name that a scrape may hold."""
    names: dict[str, Family] = {}
    for family in (*FAMILIES.values(), *ROLE_FAMILIES.values(), BUILD_INFO, START_TIME):
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}[family.kind]
        names |= {f"sluicegate_{family.name}{ending}": family for ending in endings}
    return names


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in panels():
        yield from (target["expr"] for target in panel["targets"])
    yield from (rule["expr"] for rule in RULES)


def test_every_metric_that_is_shown_or_alerted_on_is_exported() -> None:
    used = {name for text in expressions() for name in re.findall(r"(?<!:)\bsluicegate_[a-z_]+", text)}
    variables = {name for one in DASHBOARD["templating"]["list"] for name in re.findall(r"sluicegate_\w+", str(one))}
    assert used | variables <= exported().keys()
    in_a_runbook = {name for text in RUNBOOKS.values() for name in re.findall(r"(?<!:)\bsluicegate_[a-z_]+", text)}
    assert in_a_runbook <= {f"sluicegate_{family.name}" for family in exported().values()} | exported().keys()


def test_every_metric_that_is_exported_is_shown() -> None:
    text = json.dumps(DASHBOARD)
    assert [name for name in {family.name for family in exported().values()} if f"sluicegate_{name}" not in text] == []


def test_every_label_that_is_asked_for_exists() -> None:
    of_prometheus = {"job", "instance", "role", "le"}
    for text in expressions():
        for name, selector in re.findall(r"\b(sluicegate_[a-z_]+)\{([^}]*)\}", text):
            labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!=|!~|=)", selector))
            assert labels <= of_prometheus | set(exported()[name].labels), text


def test_every_record_that_is_used_is_made() -> None:
    made = {rule["record"] for rule in RULES if "record" in rule}
    used = {name for text in expressions() for name in re.findall(r"\b[a-z_]+:[a-z_]+:[a-z_0-9]+", text)}
    assert used == made


def test_a_record_is_named_by_its_labels_its_metric_and_what_was_done() -> None:
    for rule in (rule for rule in RULES if "record" in rule):
        level, metric, operation = rule["record"].split(":")
        assert set(level.split("_")) <= {"job", "instance", "workflow", "time", "role", "partition", "reason"}
        assert metric.startswith("sluicegate_")
        assert re.fullmatch(r"(rate|ratio_rate|increase|min)[1-9][0-9]*[mhd]|ratio|timestamp", operation)
        labels = f"by ({', '.join(level.split('_'))})"
        assert labels in rule["expr"] or f"{level}:" in rule["expr"], "it has the labels that its name says"


def test_the_windows_that_are_added_up_are_added_up_at_the_interval_that_they_count_with() -> None:
    (group,) = [group for group in GROUPS if any("sum_over_time" in rule["expr"] for rule in group["rules"])]
    (alone,) = {rule["expr"].split(" * ")[0] for rule in group["rules"] if ":increase" in rule.get("record", "")}
    assert (group["interval"], alone) == ("1m", "60")


def selected(expression: str, operator: str) -> tuple[str, set[str]]:
    """The pattern of reasons in an expression, and the reasons that it means."""
    (pattern,) = re.findall(rf'reason{operator}"([^"]+)"', expression)
    return pattern, {reason for reason in REASONS if re.fullmatch(pattern, reason)}


def test_what_the_freshness_objective_counts() -> None:
    """A reason is too late, in time, or not counted at all; none is two of them."""
    decisions, late = (
        next(rule["expr"] for rule in RULES if rule.get("record") == f"job_workflow:sluicegate_freshness_{name}:rate5m")
        for name in ("decisions", "late")
    )
    _, not_counted = selected(decisions, "!~")
    pattern, too_late = selected(late, "=~")
    assert not_counted == {reason for reason in REASONS if reason.startswith(("invalid", "duplicate", "superseded"))}
    families = {reason for reason in REASONS if reason.startswith(("stale", "reevaluation."))}
    assert too_late == families | {"shed.overload"}
    assert 'role="gate"' in decisions and 'role="gate"' in late, "what follows a look is not another one"
    (panel,) = [panel for panel in panels() if panel["title"] == "Too late, by reason"]
    assert selected(panel["targets"][0]["expr"], "=~")[0] == pattern


def test_the_burn_rates_are_those_of_the_workbook() -> None:
    found = []
    for alert in (one for one in ALERTS if "FreshnessBurn" in one["alert"]):
        ratios = re.findall(r"ratio_rate(\w+) > ([0-9.]+) \* \(1 - job_workflow:\S+objective:ratio\)", alert["expr"])
        (least,) = re.findall(r"late:increase(\w+) >= 10", alert["expr"])
        (long, factor), (short, same) = ratios
        assert (least, same) == (long, factor)
        found.append((factor, long, short, alert["labels"]["severity"]))
    assert found == [
        ("14.4", "1h", "5m", "critical"),
        ("6", "6h", "30m", "critical"),
        ("3", "1d", "2h", "warning"),
        ("1", "3d", "6h", "warning"),
    ]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_has_a_severity_a_summary_and_a_section_of_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    file, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert (DEPLOY.parent / file).is_file()
    sections = re.findall(r"^#+ (.+)$", RUNBOOKS[Path(file).name], re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", section.lower()).replace(" ", "-") for section in sections}


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    files = [YAML(typ="safe").load(path.read_text()) for path in sorted(DEPLOY.glob("alerts/*.test.yaml"))]
    assert {name for file in files for name in file["rule_files"]} == {path.name for path in RULE_FILES}
    cases = [case for file in files for one in file["tests"] for case in one.get("alert_rule_test", ())]
    every = {alert["alert"] for alert in ALERTS}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == every
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == every, "and one in which it does not"


def test_what_is_of_the_gate_alone_is_shown_of_the_gate_alone_and_a_curve_says_its_role() -> None:
    """Summed over roles, a review counts again when it ends, and the timers of one role are the median of another."""
    shown = {panel["title"]: panel for panel in panels()}
    for title in ("Time since the gate's last commit", "Every decision leaves one way", "Too late"):
        for target in shown[title]["targets"]:
            assert target["expr"].count("sluicegate_") == target["expr"].count('{role="gate"'), title
    for title in ("Transaction, begin to commit", "Deciding a batch", "Batch", "Transactions by their end", "Lag"):
        assert "{{role}}" in shown[title]["targets"][0]["legendFormat"], title


def test_the_dashboard_has_a_uid_its_data_source_is_a_variable_and_panels_do_not_overlap() -> None:
    assert DASHBOARD["uid"] == "sluicegate"
    assert DASHBOARD["templating"]["list"][0]["type"] == "datasource"
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        mine = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not mine & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= mine
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert (
            panel["options"]["yAxis"]["unit"]
            if panel["type"] == "heatmap"
            else panel["fieldConfig"]["defaults"]["unit"]
        )
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def tools(folder: Path, **programs: str) -> dict[str, str]:
    """An environment whose PATH has what the script needs, and `programs`: shell scripts by name."""
    for tool in ("bash", "dirname", "env"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    for name, text in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": str(folder), "XDG_CACHE_HOME": str(folder)}


def run_script(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = DEPLOY / "alerts" / "test.sh"
    return subprocess.run([script], env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_an_installed_promtool_that_is_new_enough_is_taken_and_an_older_one_is_not(tmp_path: Path) -> None:
    said = 'if [ "$1" = --version ]; then echo "promtool, version {} (branch: x)"; else echo "$@"; fi'
    for version, taken in (("2.41.9", False), ("2.42.0+ds", True), ("3.5.0", True)):
        folder = tmp_path / version
        folder.mkdir()
        done = run_script(tools(folder, promtool=said.format(version)))
        assert (done.returncode == 0) is taken, (version, done)
        assert taken is done.stdout.startswith("check rules ./freshness.rules.yaml ")


def test_without_promtool_and_go_the_target_says_so_in_one_line(tmp_path: Path) -> None:
    done = run_script(tools(tmp_path))
    assert done.returncode == 2
    assert re.fullmatch(r"test-alerts: Go is needed once, to build promtool v[0-9.]+; or install .+\n", done.stderr)
