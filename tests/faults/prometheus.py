"""A real Prometheus with the rules as they are shipped, in less time: each duration is divided by FASTER, no more.

What is divided: `for`, `keep_firing_for`, `interval`, and what stands in the square brackets of an expression. The
expressions themselves, their thresholds and their seconds (a lag over 60, a week of 604800) are those of deploy/alerts.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ruamel.yaml import YAML

from streams.runtime.broker.sockets import free_port

RULES = Path(__file__).parents[2] / "deploy" / "alerts"
FASTER = 20  # two minutes are six seconds, with scrapes and evaluations every second
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}}
rule_files: [{folder}/*.rules.yaml]
scrape_configs:
  - {{job_name: sluicegate, file_sd_configs: [{{files: ["{folder}/targets/*.json"], refresh_interval: 1s}}]}}
"""


def binary() -> str | None:
    """Where Prometheus is, if it is there."""
    return shutil.which("prometheus")


def shorter(duration: str) -> str:
    """A duration divided by FASTER."""
    parts = re.findall(r"(\d+)(ms|[smhdw])", duration)
    assert "".join(number + unit for number, unit in parts) == duration, duration
    return f"{sum(int(number) * _UNITS_MS[unit] for number, unit in parts) // FASTER}ms"


def in_less_time(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules of a file with all their durations divided by FASTER."""
    for group in rules["groups"]:
        for thing in (group, *group["rules"]):
            for field in thing.keys() & {"for", "keep_firing_for", "interval"}:
                thing[field] = shorter(thing[field])
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[(\d[^\]]*)\]", _range, rule["expr"])
    return rules


def _range(found: re.Match[str]) -> str:
    return f"[{':'.join(shorter(one) for one in found.group(1).split(':'))}]"


class Prometheus:
    """One process on a port and a folder of its own. Targets come and go while it runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        (folder / "targets").mkdir(parents=True)
        for path in RULES.glob("*.rules.yaml"):
            with (folder / path.name).open("w") as file:
                YAML().dump(in_less_time(YAML().load(path.read_text())), file)
        (folder / "prometheus.yaml").write_text(_CONFIG.format(folder=folder))
        self.log = folder / "prometheus.log"

    def __enter__(self) -> Prometheus:
        command = [
            str(binary()),
            f"--config.file={self._folder}/prometheus.yaml",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            self.query("vector(1)")
        except OSError:
            return False
        return True

    def scrape(self, job: str, ports: Sequence[int]) -> None:
        """From now on these are the targets of the job."""
        text = json.dumps([{"targets": [f"127.0.0.1:{port}" for port in ports], "labels": {"job": job}}])
        path = self._folder / "targets" / f"{job}.json"
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: labels and value of each sample."""
        address = f"http://127.0.0.1:{self._port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            said = json.loads(answer.read())
        assert said["status"] == "success", said
        found: list[dict[str, Any]] = said["data"]["result"]
        return found

    def firing(self, job: str | None = None) -> set[tuple[str, str]]:
        """The alerts that fire, of one job or without any: name and role."""
        selector = f'ALERTS{{alertstate="firing", job="{job or ""}"}}'
        found = [one["metric"] for one in self.query(selector)]
        return {(labels["alertname"].removeprefix("Sluicegate"), labels.get("role", "")) for labels in found}

    def fires(self, job: str | None, *alerts: tuple[str, str], within_s: float = 60) -> None:
        """Waits until all of these fire."""
        self._wait(job, lambda found: set(alerts) <= found, f"{alerts} do not all fire", within_s)

    def resolves(self, job: str | None, *alerts: tuple[str, str], within_s: float = 90) -> None:
        """Waits until none of these fires; of the job, if none is named."""
        wanted = set(alerts)
        self._wait(job, lambda found: not (found & wanted if wanted else found), f"{alerts} do not resolve", within_s)

    def _wait(self, job: str | None, holds: Any, otherwise: str, within_s: float) -> None:
        until = time.monotonic() + within_s
        while not holds(found := self.firing(job)):
            assert time.monotonic() < until, f"{otherwise} within {within_s} s; {found} do"
            time.sleep(0.2)
