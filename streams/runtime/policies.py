"""Reads a folder of policy documents, one YAML file per workflow, and says everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.policy import PolicyDocument
from streams.errors import ConfigurationError
from streams.path import Snapshot
from streams.policy import Policy, Problem, compile_policy

SUFFIXES = (".yaml", ".yml")


class Fault(NamedTuple):
    """A problem and the file it is in."""

    file: Path
    problem: Problem

    def __str__(self) -> str:
        path, found, expected = self.problem
        return f"{self.file}: {path or 'the document'}: found {found}, expected {expected}"


def read_folder(folder: Path) -> tuple[list[Policy], list[Fault]]:
    """Every policy in the folder that is right, in the order of the file names, and every fault.

    Raises ConfigurationError when there is no such folder or no document in it.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder; policies are YAML files in one, one per workflow")
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    if not files:
        raise ConfigurationError(f"{folder} holds no policy: expected at least one .yaml file, one per workflow")
    policies: list[Policy] = []
    faults: list[Fault] = []
    owner: dict[str, Path] = {}
    for file in files:
        policy, problems = _read(file, len(policies))
        faults += [Fault(file, problem) for problem in problems]
        if policy is None:
            continue
        if (first := owner.setdefault(policy.workflow, file)) is not file:
            faults.append(Fault(file, Problem("workflow", repr(policy.workflow), f"one that {first.name} is not for")))
        else:
            policies.append(policy)
    return policies, faults


def load(folder: Path) -> Snapshot:
    """The policies in force. Raises ConfigurationError that lists all faults."""
    policies, faults = read_folder(folder)
    if faults:
        raise ConfigurationError("the policies cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))
    return Snapshot(policies)


def _read(file: Path, index: int) -> tuple[Policy | None, list[Problem]]:
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem("", f"a file that cannot be read ({error})", "a UTF-8 text file")]
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return None, [Problem(at, " ".join((error.problem or "an error").split()), "a YAML document")]
    except YAMLError as error:
        return None, [Problem("", " ".join(str(error).split()), "a YAML document")]
    try:
        document = msgspec.convert(content, PolicyDocument)
    except msgspec.ValidationError as error:
        return None, [_problem(str(error))]
    return compile_policy(document, index)


def _problem(text: str) -> Problem:
    """msgspec's "Expected `int`, got `str` - at `$.version`" in our words."""
    what, _, path = text.partition(" - at ")
    at = path.strip("`").removeprefix("$").removeprefix(".")
    what = what.replace("`", "")
    if what.startswith("Object missing required field "):
        return Problem(".".join(filter(None, (at, what.rpartition(" ")[2]))), "nothing", "this field")
    if what.startswith("Object contains unknown field "):
        return Problem(at, f"an unknown field {what.rpartition(' ')[2]}", "only the fields that a policy has")
    expected, got, found = what.partition(", got ")
    if got:
        return Problem(at, found, expected.removeprefix("Expected "))
    if what.startswith("Invalid enum value "):
        return Problem(at, what.removeprefix("Invalid enum value "), "one of the values that the schema lists")
    return Problem(at, "something else", what.removeprefix("Expected "))
