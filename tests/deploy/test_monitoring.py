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

from streams.metrics import BUILD_INFO, FAMILIES, ROLE_FAMILIES, Family

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOK = (DEPLOY / "runbooks" / "worker.md").read_text()
DASHBOARD = json.loads((DEPLOY / "dashboards" / "sluicegate.json").read_text())
RULES = [
    rule
    for group in YAML(typ="safe").load((DEPLOY / "alerts" / "sluicegate.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


def exported() -> dict[str, Family]:
    """Every sample name that a scrape may hold."""
    names: dict[str, Family] = {}
    for family in (*FAMILIES.values(), *ROLE_FAMILIES.values(), BUILD_INFO):
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
    used = {name for text in expressions() for name in re.findall(r"\bsluicegate_[a-z_]+", text)}
    variables = {name for one in DASHBOARD["templating"]["list"] for name in re.findall(r"sluicegate_\w+", str(one))}
    assert used | variables <= exported().keys()
    in_the_runbook = set(re.findall(r"\bsluicegate_[a-z_]+", RUNBOOK))
    assert in_the_runbook <= {f"sluicegate_{family.name}" for family in exported().values()}


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
    used = {name for text in expressions() for name in re.findall(r"sluicegate:[a-z:_0-9]+", text)}
    assert used == made


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_has_a_severity_a_summary_and_a_section_of_the_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["summary"]
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert (DEPLOY.parent / file).is_file()
    sections = re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    assert anchor in {re.sub(r"[^a-z0-9 -]", "", section.lower()).replace(" ", "-") for section in sections}


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    tests = YAML(typ="safe").load((DEPLOY / "alerts" / "sluicegate.test.yaml").read_text())["tests"]
    fires = {case["alertname"] for one in tests for case in one["alert_rule_test"] if case["exp_alerts"]}
    assert fires == {alert["alert"] for alert in ALERTS}


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


def test_without_go_the_target_says_so_in_one_line(tmp_path: Path) -> None:
    for tool in ("bash", "dirname", "env"):
        found = shutil.which(tool)
        assert found
        (tmp_path / tool).symlink_to(found)
    environment = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [DEPLOY / "alerts" / "test.sh"], env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 2
    assert re.fullmatch(r"test-alerts: Go is needed once, to build promtool v[0-9.]+; .+\n", done.stderr)
