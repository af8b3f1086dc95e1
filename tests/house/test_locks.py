"""The locks hold whatever is needed, so nothing is resolved at installation; and nothing that nobody uses."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HOME = Path(__file__).parents[2]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
# what is used without being imported, and how
TOOLS = {
    "mypy": "a program",
    "ruff": "a program",
    "pytest-asyncio": "a plugin",
    "pytest-timeout": "a plugin",
    "pytest-xdist": "a plugin",
    "psycopg": "SQLAlchemy's driver, named in a URL",
}


def asked(lock: str) -> list[str]:
    """What the lock was made of: see `make lock`."""
    project = PROJECT["project"]
    if lock == "requirements.lock":
        lines = (HOME / "build.in").read_text().splitlines()
        return [*project["dependencies"], *(line for line in lines if line and not line.startswith("#"))]
    return [
        *project["dependencies"],
        *EXTRAS["plots"],
        *PROJECT["dependency-groups"]["dev"],
    ]


def pins(text: str) -> dict[str, Version]:
    """By name: the version that this interpreter gets."""
    found = dict[str, Version]()
    for line in re.findall(r"^[a-zA-Z0-9].*?(?= *\\?$)", text, re.MULTILINE):
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate():
            (exactly,) = one.specifier
            found[canonicalize_name(one.name)] = Version(exactly.version)
    return found


@cache
def needs(name: str, extra: str) -> tuple[Requirement, ...]:
    """What an installed distribution needs here; with an extra: what only the extra brings."""
    every = map(Requirement, importlib.metadata.requires(name) or ())
    return tuple(one for one in every if (not extra if one.marker is None else one.marker.evaluate({"extra": extra})))


def lacking(wanted: Iterable[str], pinned: dict[str, Version]) -> Iterator[str]:
    """Whatever is needed, by what, and not pinned to a version that fits."""
    waiting = [(Requirement(line), "pyproject.toml") for line in wanted]
    seen = set[tuple[str, str]]()
    while waiting:
        need, by = waiting.pop()
        name = canonicalize_name(need.name)
        version = pinned.get(name)
        if version is None:
            yield f"{by} needs {need}, which is not pinned"
            continue
        if not need.specifier.contains(version, prereleases=True):
            yield f"{by} needs {need}, and {version} is pinned"
        for extra in {"", *need.extras} - {extra for of, extra in seen if of == name}:
            seen.add((name, extra))
            waiting += [(one, name) for one in needs(name, extra)]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_holds_whatever_is_needed_with_all_extras(lock: str) -> None:
    assert list(lacking(asked(lock), pins((HOME / lock).read_text()))) == []


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_line_that_is_taken_out_is_missed(lock: str) -> None:
    pinned = pins((HOME / lock).read_text())
    needed = [name for name in pinned if list(lacking(asked(lock), {k: v for k, v in pinned.items() if k != name}))]
    assert set(pinned) - set(needed) == set(), "pinned, and needed by nothing"


def test_every_pin_has_hashes() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (HOME / lock).read_text()
        for block in re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)[1:]:
            assert "--hash=sha256:" in block, block


def imported(*rooms: str) -> set[str]:
    """The top-level modules that the files of these folders import."""
    texts = (file.read_text() for room in rooms for file in (HOME / room).rglob("*.py"))
    return {name for text in texts for name in re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE)}


def modules_of(name: str) -> set[str]:
    """The top-level modules that a distribution brings."""
    files = importlib.metadata.files(name) or ()
    return {file.parts[0].removesuffix(".py") for file in files if file.suffix in (".py", ".so", ".pyi")}


@pytest.mark.parametrize(
    ("lines", "rooms"),
    [
        (PROJECT["project"]["dependencies"], ("schemas", "streams", "agents")),
        ([one for lines in EXTRAS.values() for one in lines], ("schemas", "streams", "agents")),
        (PROJECT["dependency-groups"]["dev"], ("tests", "streams", "agents")),
    ],
    ids=["dependencies", "extras", "dev"],
)
def test_whatever_is_asked_for_is_used(lines: list[str], rooms: tuple[str, ...]) -> None:
    used = imported(*rooms)
    names = [Requirement(line).name for line in lines]
    assert [name for name in names if name not in TOOLS and not modules_of(name) & used] == []
