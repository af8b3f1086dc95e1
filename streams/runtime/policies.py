"""Reads a folder of policy documents, one YAML file per workflow, and says everything that is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from schemas.common import DEPTH_MAX
from streams.document import document_of
from streams.errors import ConfigurationError
from streams.path import Snapshot
from streams.policy import Policy, compile_policy
from streams.terms import Problem

SUFFIXES = (".yaml", ".yml")
FILE_BYTES_MAX = 256 * 1024  # some thousands of rules; it is read by people
_BRACKET = re.compile(r"[\[\]{}]")
VALUES_MAX = 50_000  # names, texts, lists and fields of a document with aliases, each alias counted as all it names


class Fault(NamedTuple):
    """A problem and the file it is in."""

    file: Path
    problem: Problem

    def __str__(self) -> str:
        path, found, expected = self.problem
        return f"{self.file}: {path or 'the document'}: found {found}, expected {expected}"


def read_folder(folder: Path) -> tuple[list[Policy], list[Fault]]:
    """Every policy in the folder that is right, in the order of the file names, and every fault; or of one file.

    Raises ConfigurationError when there is no such folder or no document in it.
    """
    try:
        if not folder.is_dir() and not folder.is_file():
            raise ConfigurationError(f"{folder} is not a folder; policies are YAML files in one, one per workflow")
        files = [folder]
        if folder.is_dir():
            files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be read ({error.strerror}); policies are YAML files in a folder, one per workflow"
        ) from error
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
    content, problems = _content(file)
    if problems:
        return None, problems
    document, problems = document_of(content)
    return compile_policy(document, index) if document is not None else (None, problems)


def _content(file: Path) -> tuple[Any, list[Problem]]:
    """What the YAML says, or what is wrong with it as a text: nothing large is read, nothing that grows is built."""
    try:
        if (size_bytes := file.stat().st_size) > FILE_BYTES_MAX:
            return None, [Problem("", f"a file of {size_bytes} bytes", f"at most {FILE_BYTES_MAX}")]
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return None, [Problem("", f"a file that cannot be read ({error})", "a UTF-8 text file")]
    return content_of(text)


def content_of(text: str) -> tuple[Any, list[Problem]]:
    """The same of a text. Raises nothing."""
    try:
        if ("*" in text or _brackets(text) > DEPTH_MAX) and (told := _explosion(text)) is not None:
            return None, [told]
        return YAML(typ="safe", pure=True).load(text), []
    except MarkedYAMLError as error:
        mark = error.problem_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return None, [Problem(at, f"a mistake ({_one_line(error.problem or 'no YAML')})", "a YAML document")]
    except Exception as error:  # for a tag or a scalar that it takes apart ruamel raises whatever comes of it
        why = _one_line(str(error)).partition("; use sys.")[0] or type(error).__name__
        return None, [Problem("", f"a mistake ({why})", "a YAML document")]


def _brackets(text: str) -> int:
    """How deep brackets stand within each other, those in texts included: no flow is nested deeper."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _explosion(text: str) -> Problem | None:
    """What aliases (`*name`) make of the document, counted in its events before anything is built of them; and what is
    nested so deep that ruamel takes minutes to find that it cannot.
    """
    sizes: dict[str, int] = {}  # of what stands under an anchor, once it is complete
    begun: list[tuple[str | None, int]] = []
    size = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            size += sizes.get(event.anchor, VALUES_MAX)  # not complete: it names itself
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            begun.append((event.anchor, size))
            size += 1
            if len(begun) > DEPTH_MAX:
                return Problem(
                    _at(event), f"more than {DEPTH_MAX} lists or fields within each other", "a YAML document"
                )
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            anchor, before = begun.pop()
            sizes.update({} if anchor is None else {anchor: size - before})
        elif isinstance(event, ScalarEvent):
            size += 1
            sizes.update({} if event.anchor is None else {event.anchor: 1})
        if size > VALUES_MAX:
            found = f"aliases that make more than {VALUES_MAX} values of it"
            return Problem(_at(event), found, "a document that says what it means")
    return None


def _at(event: Any) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
