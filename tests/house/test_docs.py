"""What the documents show works: the README's policy compiles, its producer and executor run, its paths exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from agents.cli.main import COMMANDS
from streams.runtime.policies import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_policy_in_the_readme_compiles(tmp_path: Path) -> None:
    policy, exposure, stale = blocks("yaml")
    (tmp_path / "payout.yaml").write_text(policy + exposure)
    (tmp_path / "billing.yaml").write_text(f"workflow: billing\nversion: 1\n{stale}boundary: {{rules: []}}\n")
    payout = load(tmp_path).by_workflow["payout"]
    assert (payout.name, [limit.name for limit in payout.exposure]) == ("payout@1", ["hourly", "per-account"])
    assert load(tmp_path).by_workflow["billing"].evaluator is not None


@pytest.mark.parametrize("block", blocks("python"))
def test_the_programs_in_the_readme_are_programs(block: str) -> None:
    compile(block, "README.md", "exec")


def test_every_command_that_the_readme_shows_exists() -> None:
    shown = set(re.findall(r"sluicegate ([a-z]+)", README))
    assert shown - {"is"} <= set(COMMANDS)
    assert {"demo", "broker", "topics", "policy", "worker", "send", "tail", "audit"} <= shown | {"demo"}


def test_what_the_readme_shows_of_try_is_what_it_prints() -> None:
    (command,) = re.findall(r"^    (.+\bsluicegate try .+)$", README, re.MULTILINE)
    shown = README.split(command + "\n")[1].split("\n\n")[0]
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "".join(line.removeprefix("    ") + "\n" for line in shown.splitlines())


def test_every_make_target_that_the_documents_show_exists() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"make ([a-z][a-z-]+)", README)) - {"your", "it"}:
        assert f"make {target} " in listed or f"make {target}\n" in listed, target


def test_every_file_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"\b((?:[a-z_]+/)*[a-z_]+\.py)\b", text))
    there = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    for name in named:
        assert any(path == name or path.endswith("/" + name) for path in there), name
