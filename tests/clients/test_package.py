"""The kit is a distribution of its own: it builds alone, and brings nothing of this repository along."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.build import build_wheel
from sluicegate_kit import reading

KIT = Path(__file__).parents[2] / "deploy/clients/python"
PROGRAM = """
import sys, sluicegate_kit
sluicegate_kit.open_store("sqlite:///acted.db")
print(sluicegate_kit.__file__)
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_wheel_builds_and_holds_the_package_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(KIT)
    wheel = tmp_path / build_wheel(str(tmp_path))
    assert wheel.name == "sluicegate_kit-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith("METADATA"))
    modules = {name for name in names if name.startswith("sluicegate_kit/")}
    assert modules == {path.relative_to(KIT).as_posix() for path in (KIT / "sluicegate_kit").glob("*.*")}
    assert {name.partition("/")[0] for name in names} == {"sluicegate_kit", "sluicegate_kit-0.2.0.dist-info"}
    needed = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    assert sorted(needed) == [
        "aiokafka<0.15,>=0.14",
        "cramjam>=2.9",
        "msgspec>=0.19",
        "sqlalchemy>=2; extra == 'sql'",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("expansion", "expansion"), ("frames", "frames"), ("batches", "batches"), ("records", "reading")],
)
def test_it_reads_as_the_gate_does(ours: str, theirs: str) -> None:
    """It shares no code with the gate, so what both need stands in both."""
    text = (KIT.parents[2] / f"streams/runtime/{ours}.py").read_text().partition("\n\n\ninstall(")[0].rstrip()
    assert (KIT / f"sluicegate_kit/{theirs}.py").read_text().rstrip() == text.replace(
        "streams.runtime.", "sluicegate_kit."
    )


def test_importing_it_imports_nothing_of_this_repository_and_no_sqlalchemy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(KIT)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, modules = done.stdout.splitlines()
    assert Path(where).is_relative_to(KIT)
    imported = set(eval(modules))
    assert {"sluicegate_kit", "aiokafka", "msgspec"} <= imported
    assert not imported & {"schemas", "streams", "agents", "tests", "sqlalchemy", "faust", "orjson", "pytest", "numpy"}


def test_the_readme_shows_the_examples_as_they_are_and_they_are_short() -> None:
    shown = re.findall(r"^```python\n(.*?)^```", (KIT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert shown == [(KIT / "examples" / f"{name}.py").read_text() for name in ("producer", "executor")]
    assert all(len(program.splitlines()) < 15 for program in shown)


def test_its_reader_stands_on_aiokafkas_own_whatever_else_reads_in_the_process() -> None:
    import streams.runtime.records  # noqa: F401  # which stands in for it

    assert reading.Lenient.__base__ is not None
    assert reading.Lenient.__base__.__module__ == "aiokafka.consumer.fetcher"
