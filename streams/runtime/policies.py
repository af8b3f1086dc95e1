"""Reads a folder of policy documents, one YAML file per workflow, and says everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from schemas.policy import Condition, PolicyDocument, Segment
from streams.errors import ConfigurationError
from streams.path import Snapshot
from streams.policy import Policy, compile_policy
from streams.terms import Problem

SUFFIXES = (".yaml", ".yml")
_STEP = re.compile(r"\[(?:\.\.\.|(\d+))\]|\.?([^.\[]+)")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "fields with values",
    "null": "nothing",
    " | ": ", or ",
}
_WORD = re.compile("|".join(map(re.escape, _WORDS)))
_DURATION = re.compile(
    r"freshness\.(budget|total|skew_tolerance|segments\..+\.budget|allowance\.(initial|at_least|at_most))|evaluator\.timeout"
)
_SPAN = "a length of time with its unit, such as 250ms, 90s, 10m or 1h30m"
# where msgspec names types and we know words
_EXPECTED = {
    _DURATION: _SPAN,
    re.compile(r"freshness\.(segments\..+\.)?on_stale"): "drop, reevaluate or escalate",
    re.compile(r"boundary\.rules\[\d+\]\.then"): "autonomous, escalate or block",
    re.compile(r"freshness\.allowance"): f"{_SPAN}, or initial and at_most where it is measured",
    re.compile(r"freshness\.context"): (
        "any, or a list of fields of the context's state; without the line it is not looked at"
    ),
    re.compile(r"freshness\.overload"): "fields with values, {} for the usual ones",
    re.compile(r".+\.limits\.reversible"): "true; without the line, reversible or not is all the same",
}


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
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        return None, [Problem("", f"a file that cannot be read ({error})", "a UTF-8 text file")]
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return None, [Problem(at, f"a mistake ({_one_line(error.problem or 'no YAML')})", "a YAML document")]
    except (YAMLError, ValueError, RecursionError) as error:
        return None, [Problem("", f"a mistake ({_one_line(str(error))})", "a YAML document")]
    try:
        document = msgspec.convert(content, PolicyDocument)
    except msgspec.ValidationError as error:
        return None, [_problem(str(error), content)]
    return compile_policy(document, index)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _problem(text: str, content: Any) -> Problem:
    """msgspec's "Expected `int`, got `str` - at `$.version`" in our words, with what stands there."""
    what, _, where = text.replace("`", "").partition(" - at ")
    path, found = _resolve(where.removeprefix("key in ").removeprefix("$").removeprefix("."), content)
    field = what.rpartition(" ")[2]
    if what.startswith("Object missing required field "):
        return Problem(".".join(filter(None, (path, field))), "nothing", "this field")
    if what.startswith("Object contains unknown field "):
        return Problem(path, f"an unknown field {field}", "only the fields that a policy has")
    if where.startswith("key in "):
        return Problem(path, "a name that is no text", "names that are text, in quotes where need be")
    return Problem(path, "nothing" if found is None else f"{found!r:.80}", _expected(what, path))


def _expected(what: str, path: str) -> str:
    for place, words in _EXPECTED.items():
        if place.fullmatch(path):
            return words
    return _WORD.sub(lambda word: _WORDS[word[0]], what.removeprefix("Expected ").partition(", got ")[0])


def _resolve(where: str, content: Any) -> tuple[str, Any]:
    """The path with the names of conditions and segments, which msgspec leaves out, and what stands there."""
    path = ""
    for index, given in _STEP.findall(where):
        if index:
            path, content = f"{path}[{index}]", content[int(index)]
            continue
        name = given or _first_wrong(content, Segment if path == "freshness.segments" else Condition)
        path, content = f"{path}.{name}".removeprefix("."), content.get(name) if isinstance(content, dict) else None
    return path, content


def _first_wrong(named: dict[str, Any], kind: type[Condition | Segment]) -> str:
    for name, given in named.items():
        try:
            msgspec.convert(given, kind)
        except msgspec.ValidationError:
            return name
    return "..."
