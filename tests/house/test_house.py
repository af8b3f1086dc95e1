"""The house: small files, nothing that ties it to one machine or registry, help that teaches, locks with hashes."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agents.cli.main import COMMANDS, cli

HOME = Path(__file__).parents[2]
ROOMS = ("schemas", "streams", "agents", "tests")
LINES_MAX = 300
TEST_LINES_MAX = 350  # a table of cases is long before it is complicated
FUNCTION_LINES_MAX = 70
FILE_BYTES_MAX = 1 << 20

# spelt in pieces, so that this file does not find itself
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "repo.maven." + "apache.org",
    "repo1." + "maven.org",
    "npm" + "js",
]
REGISTRIES += [
    "docker" + ".io",
    "gh" + "cr.io",
    "quay" + ".io",
    "maven" + "-central",
    "central.sona" + "type",
    "anaconda" + ".org",
]
MACHINE = ["/" + "work/", "/" + "root/", "/tmp/" + "bash_jobs"]


def ours() -> list[Path]:
    """Files that are tracked, or would be: what a clone has, where git can say; else all but the ignored folders."""
    if (HOME / ".git").exists() and (git := shutil.which("git")):
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=HOME, check=True, capture_output=True).stdout.decode().split("\0")
        return sorted(HOME / name for name in listed if name and (HOME / name).is_file())
    return sorted(path for room in (*ROOMS, "deploy") for path in (HOME / room).rglob("*") if path.is_file())


def texts() -> Iterator[tuple[str, str]]:
    for path in ours():
        try:
            yield path.relative_to(HOME).as_posix(), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def found(words: list[str], text: str) -> list[str]:
    return [word for word in words if re.search(rf"(?<![\w.-]){re.escape(word)}", text)]


def test_files_are_small() -> None:
    def limit(name: str) -> int:
        return TEST_LINES_MAX if name.startswith("tests/") else LINES_MAX

    long = {name: len(text.splitlines()) for name, text in texts() if name.endswith(".py")}
    assert {name: lines for name, lines in long.items() if lines > limit(name)} == {}


def test_functions_are_short() -> None:
    long = []
    for name, text in texts():
        if not name.endswith(".py") or name.startswith("tests/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= FUNCTION_LINES_MAX:
                    long.append(f"{name}: {node.name}")
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        name
        for name, text in texts()
        if name.endswith(".py")
        and text.strip()
        and not name.startswith("tests/")
        and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []


def test_no_package_registry_is_named_by_host() -> None:
    assert {name: words for name, text in texts() if (words := found(REGISTRIES, text))} == {}


def test_no_absolute_path_of_a_machine_stands_anywhere() -> None:
    assert {name: words for name, text in texts() if (words := found(MACHINE, text))} == {}


def test_the_search_finds_what_it_looks_for() -> None:
    assert found(REGISTRIES, "see https://" + REGISTRIES[0] + "/simple") == [REGISTRIES[0]]
    assert found(MACHINE, f"cd {MACHINE[0]}main") == [MACHINE[0]]
    assert found(MACHINE, "https://host/my" + MACHINE[0]) == []


def test_no_file_is_large() -> None:
    assert [path.name for path in ours() if path.stat().st_size > FILE_BYTES_MAX] == []


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, about in command.commands.items():
            yield from leaves(f"{name} {inner}", about)


def all_commands() -> list[tuple[str, click.Command]]:
    return [
        found
        for name, (module, attribute, _) in COMMANDS.items()
        for found in leaves(name, getattr(importlib.import_module(module), attribute))
    ]


@pytest.mark.parametrize(("name", "command"), all_commands(), ids=[name for name, _ in all_commands()])
def test_each_command_has_help_that_teaches(name: str, command: click.Command) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="sluicegate")
    assert result.exit_code == 0, result.output
    assert f"Usage: sluicegate {name}" in result.output
    assert command.help, "a docstring says what it does"
    if not isinstance(command, click.Group):
        assert "Example" in result.output
        helpless = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
        assert helpless == []


def test_the_first_help_lists_every_command() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name, (_, _, about) in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(about.split()[0])}", result.output, re.MULTILINE)


def test_a_command_that_does_not_exist_is_a_usage_error() -> None:
    assert CliRunner().invoke(cli, ["no-such-thing"]).exit_code == 2


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_hashes_for_each_requirement_and_no_address(lock: str) -> None:
    text = (HOME / lock).read_text()
    requirements = re.split(r"\n(?=\S)", text.strip())
    assert len(requirements) > 20
    for requirement in requirements:
        first, *hashes = requirement.split("\\\n")
        assert re.match(r"[a-z0-9][a-z0-9.-]*==[^ ]+( ; .+)? *$", first), first
        assert hashes, first
        assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64} *", line) for line in hashes), first
    assert "://" not in text
    assert not re.search(r"^ *(-i|-f|--index|--extra-index|--find-links|--trusted)", text, re.MULTILINE)


TARGETS = ["help", "install", "demo", "test", "test-faults", "check", "bench", "schemas", "clean"]


def test_make_has_every_target_and_help_lists_it() -> None:
    make = shutil.which("make")
    assert make, "make is what the project is driven with"
    shown = subprocess.run([make, "-s", "help"], cwd=HOME, check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE)
    assert set(TARGETS) <= set(listed)
    rules = re.findall(r"^([a-z-]+):", (HOME / "Makefile").read_text(), re.MULTILINE)
    assert set(rules) == set(listed), "a target that help does not list"
