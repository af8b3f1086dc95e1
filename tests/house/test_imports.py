"""Imports only point down: schemas <- streams <- agents; and a file directly in streams/ touches no world."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
ROOMS = ("schemas", "streams", "agents", "tests")
# what reads a clock, a socket, a file, chance, or makes the caller wait
WORLD = frozenset(
    {
        *("faust", "mode", "aiokafka", "asyncio", "socket", "time", "threading", "subprocess", "os", "random"),
        *("secrets", "select", "signal", "multiprocessing", "concurrent", "http", "urllib", "ssl", "pathlib"),
        *("tempfile", "shutil", "sqlite3", "logging", "structlog", "prometheus_client", "aiohttp", "uuid", "io"),
    }
)
HARMLESS = ("urllib.parse",)  # parts of these that only compute
CLOCKS = frozenset({"now", "utcnow", "today"})
PURE_CALLS = frozenset({"open", "input", "print", "exec", "eval", "__import__"})


def wrong(path: str, source: str) -> list[str]:
    """What a file at `path` may not import or call, as `line: what`."""
    tree = ast.parse(source)
    found = [f"{line}: imports {name}" for line, name in imported(tree, path) if not allowed(path, name)]
    if is_pure(path):
        found += [
            f"{line}: imports {name}"
            for line, name in imported(tree, path)
            if name.split(".")[0] in WORLD and not name.startswith(HARMLESS)
        ]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
                found.append(f"{node.lineno}: reads the clock, .{node.attr}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PURE_CALLS:
                found.append(f"{node.lineno}: calls {node.func.id}")
    return found


def is_pure(path: str) -> bool:
    parts = Path(path).parts
    return parts[0] in ("schemas", "streams") and len(parts) == 2 and path != "schemas/generate.py"


def imported(tree: ast.Module, path: str) -> list[tuple[int, str]]:
    """Also inside functions and under TYPE_CHECKING: a cycle hidden there is still one."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(Path(path).parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (package, node.module or "")))
            # `from streams import runtime` imports streams.runtime
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


def allowed(path: str, name: str) -> bool:
    """Whether the file may import this module, as far as it is one of ours."""
    room, ours = Path(path).parts[0], name.split(".")[0]
    if ours not in ROOMS:
        return True
    if path.startswith("agents/audit/"):
        # an independent judge: nothing of what it judges
        return ours == "agents" or name.startswith("streams.errors.")
    if is_pure(path) and name.startswith("streams.runtime"):
        return False
    return ROOMS.index(ours) <= ROOMS.index(room)


def our_files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (HOME / room).rglob("*.py"))


@pytest.mark.parametrize("file", our_files(), ids=lambda file: str(file.relative_to(HOME)))
def test_imports_point_down(file: Path) -> None:
    assert wrong(file.relative_to(HOME).as_posix(), file.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("schemas/new.py", "import streams"),
        ("schemas/new.py", "from streams.batch import Row"),
        ("schemas/new.py", "from agents import gate"),
        ("schemas/new.py", "import time"),
        ("streams/new.py", "from agents.gate import run"),
        ("streams/new.py", "from streams.runtime import app"),
        ("streams/new.py", "from streams import runtime"),
        ("streams/new.py", "from . import runtime"),
        ("streams/new.py", "from .runtime.app import App"),
        ("streams/new.py", "import asyncio"),
        ("streams/new.py", "import os.path"),
        ("streams/new.py", "from time import monotonic"),
        ("streams/new.py", "def f():\n    import socket"),
        ("streams/new.py", "if TYPE_CHECKING:\n    import faust"),
        ("streams/new.py", "from datetime import datetime\nx = datetime.now()"),
        ("streams/new.py", "x = open('f')"),
        ("streams/runtime/new.py", "from agents.gate import run"),
        ("streams/runtime/broker/new.py", "import agents"),
        ("streams/new.py", "from tests.streams.making import row"),
        ("agents/new.py", "import tests"),
        ("agents/audit/new.py", "from streams.ingest import read"),
        ("agents/audit/new.py", "from schemas.decision import Decision"),
        ("agents/audit/new.py", "import streams"),
    ],
)
def test_the_check_sees_a_violation(path: str, source: str) -> None:
    assert len(wrong(path, source)) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("schemas/new.py", "import msgspec\nfrom schemas.common import Id"),
        ("streams/new.py", "from schemas.decision import Decision\nfrom streams.batch import Row\nimport numpy"),
        ("streams/runtime/new.py", "import asyncio\nfrom streams.path import decide"),
        ("agents/new.py", "import os\nfrom streams.runtime.app import make\nfrom agents.cli import main"),
        ("agents/audit/new.py", "import json\nfrom streams.errors import CheckFailed\nfrom agents.audit import scan"),
        ("tests/new.py", "from agents import gate\nimport time"),
    ],
)
def test_the_check_lets_the_right_ones_pass(path: str, source: str) -> None:
    assert wrong(path, source) == []
