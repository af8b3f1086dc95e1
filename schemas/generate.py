"""Writes the published documents to `schemas/generated/`: a JSON Schema 2020-12 for every record, and AsyncAPI 3.

python -m schemas.generate             writes what the Structs say
python -m schemas.generate --check     fails when a file is not current, or when a change breaks who relies on a release
python -m schemas.generate --release   makes what is there the version that later changes are held against; with the
                                       names of families behind it, only those

The released version stands in `schemas/released/`, in the tree: so a clone without tags can be checked, and a change of
what was promised is seen in review. A breaking change is not released: it needs a family of its own, with the next
major version in its name. Only what nobody has been given yet may be released anew, after deleting its file there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from schemas import asyncapi
from schemas.command import Command
from schemas.compatibility import OPEN_LIST, SIDES, breaking
from schemas.decision import LINEAGE_FIELDS, Decision, Successor
from schemas.exception import ExceptionRecord
from schemas.heartbeat import Heartbeat
from schemas.messages import MESSAGES
from schemas.policy import PolicyDocument
from schemas.published import Current, Halt, Preapproval, PublishedPolicy, Recall
from schemas.reasons import COMMAND_REASONS, EXCEPTION_REASONS, REVIEW_REASONS
from schemas.receipt import Receipt
from schemas.reevaluation import Answer, Context, Question, Reevaluation
from schemas.rejection import REJECTION_REASONS, Rejection
from schemas.review import Review
from schemas.verdict import Verdict

FOLDER = Path(__file__).parent / "generated"
RELEASED = Path(__file__).parent / "released"
FAMILIES: dict[str, type[msgspec.Struct]] = {
    "decision": Decision,
    "successor": Successor,
    "command": Command,
    "review": Review,
    "exception": ExceptionRecord,
    "receipt": Receipt,
    "reevaluation": Reevaluation,
    "context": Context,
    "rejection": Rejection,
    "verdict": Verdict,
    "halt": Halt,
    "recall": Recall,
    "heartbeat": Heartbeat,
    "published_policy": PublishedPolicy,
    "current": Current,
    "preapproval": Preapproval,
    "question": Question,
    "answer": Answer,
    "policy": PolicyDocument,
}


def _bodies(families: list[str], ref_template: str) -> dict[str, dict[str, Any]]:
    """The schemas of these families and of all that they refer to, by title, with what a Struct cannot state."""
    _, bodies = msgspec.json.schema_components([FAMILIES[name] for name in families], ref_template=ref_template)
    for body in bodies.values():
        if told := body.get("description"):
            body["description"] = cleandoc(told)  # from Python 3.13 on docstrings come without their indentation
    for name in families:
        body = bodies[FAMILIES[name].__name__]
        if name == "decision":
            body["not"] = {"anyOf": [{"required": [field]} for field in sorted(LINEAGE_FIELDS)]}
        elif name == "command":
            body["properties"]["reason"][OPEN_LIST] = list(COMMAND_REASONS)
        elif name == "review":
            body["properties"]["reasons"]["items"][OPEN_LIST] = list(REVIEW_REASONS)
        elif name == "exception":
            for field in ("reason", "first_reason"):
                body["properties"][field][OPEN_LIST] = list(EXCEPTION_REASONS)
        elif name == "rejection":
            body["properties"]["reason"][OPEN_LIST] = list(REJECTION_REASONS)
        elif name in ("reevaluation", "question"):
            body["properties"]["reason"][OPEN_LIST] = [one for one in EXCEPTION_REASONS if one.startswith("stale.")]
    return bodies


def schema_of(name: str) -> dict[str, Any]:
    """One self-contained schema (its `$defs` inside). Raises KeyError for a family that there is not."""
    bodies = _bodies([name], "#/$defs/{name}")
    body = bodies.pop(FAMILIES[name].__name__)
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://sluicegate.example/schemas/{name}.v1.json",
    }
    return {**head, **body, **({"$defs": bodies} if bodies else {})}


def asyncapi_document() -> dict[str, Any]:
    """The whole AsyncAPI document, schemas included."""
    families = [message.family for message in MESSAGES]
    titles = {name: FAMILIES[name].__name__ for name in families}
    return asyncapi.document(_bodies(families, "#/components/schemas/{name}"), titles)


def documents() -> dict[str, dict[str, Any]]:
    """Everything that is published, by the name of its file."""
    schemas = {f"{name}.schema.json": schema_of(name) for name in FAMILIES}
    return {**schemas, "asyncapi.json": asyncapi_document()}


def rendered(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def broken_promises() -> list[str]:
    """A sentence for each change since the release that breaks who relies on it."""
    found = []
    for file in sorted(RELEASED.glob("*.schema.json")):
        name = file.name.removesuffix(".schema.json")
        if name not in FAMILIES:
            found.append(f"schemas/generated/{file.name}: the record was released and is gone")
            continue
        found += [
            f"schemas/generated/{file.name}: {change} ({name} records are {SIDES[name]}; see schemas/released/)"
            for change in breaking(name, json.loads(file.read_text()), schema_of(name))
        ]
    return found


def main(check: bool) -> int:
    """Writes or checks `generated/`; the exit code."""
    FOLDER.mkdir(exist_ok=True)
    published = {file: rendered(document) for file, document in documents().items()}
    stale = [file for file, text in published.items() if not (FOLDER / file).exists() or _read(file) != text]
    if check:
        for file in stale:
            print(f"schemas/generated/{file} is not what the Structs say: run `make schemas`")
        broken = broken_promises()
        if broken:
            print("these changes break programs that rely on the released schemas:", *broken, sep="\n  ")
        return 1 if stale or broken else 0
    for file in stale:
        (FOLDER / file).write_text(published[file])
    print(f"schemas/generated: {len(stale)} written, {len(published) - len(stale)} unchanged")
    return 0


def release(names: Sequence[str] = ()) -> int:
    """Writes `released/`, of these families or of all, unless that would break a promise; the exit code."""
    if unknown := sorted(set(names) - set(FAMILIES)):
        print(f"not released: there is no family {', '.join(unknown)}; there are {', '.join(FAMILIES)}")
        return 2
    if broken := broken_promises():
        print("not released, for these changes break programs that rely on what is:", *broken, sep="\n  ")
        return 1
    RELEASED.mkdir(exist_ok=True)
    for name in names or FAMILIES:
        (RELEASED / f"{name}.schema.json").write_text(rendered(schema_of(name)))
    print(f"schemas/released: {len(names or FAMILIES)} schemas")
    return 0


def _read(file: str) -> str:
    return (FOLDER / file).read_text()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--release"]:
        sys.exit(release(sys.argv[2:]))
    sys.exit(main(check="--check" in sys.argv[1:]))
