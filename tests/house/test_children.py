"""Processes are started, signalled and awaited in one way: see streams/runtime/children.py for what goes wrong else."""

from __future__ import annotations

import ast
from pathlib import Path

HOME = Path(__file__).parents[2]
THE_ONE = "streams/runtime/children.py"
WITH_TWO_OWNERS = {"create_subprocess_exec", "create_subprocess_shell"}
STARTS = {"Popen", *WITH_TWO_OWNERS}
# tests with a program whose end nobody else hastens; a file that no longer starts one is taken off
EXEMPT = {
    "tests/faults/monitored.py",
    "tests/faults/test_codecs.py",
    "tests/kafka/test_unreadable.py",
}


def starters(names: set[str], *folders: str) -> set[str]:
    """The files in which a process is started by one of these names."""
    found = set()
    for folder in folders:
        for path in (HOME / folder).rglob("*.py"):
            calls = [node.func for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
            if names & {getattr(call, "attr", getattr(call, "id", "")) for call in calls}:
                found.add(path.relative_to(HOME).as_posix())
    return found


def test_one_module_starts_processes() -> None:
    assert starters(STARTS, "schemas", "streams", "agents") == {THE_ONE}, "start it with streams.runtime.children"


def test_tests_do_not_start_them_with_two_owners_and_exemptions_only_shrink() -> None:
    assert starters(WITH_TWO_OWNERS, "tests") == EXEMPT
