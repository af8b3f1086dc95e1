"""Writes JSON Schema 2020-12 for every record to `schemas/generated/`, or checks that what is there is current.

python -m schemas.generate [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas.command import Command
from schemas.decision import LINEAGE_FIELDS, Decision, Successor
from schemas.exception import ExceptionRecord
from schemas.policy import PolicyDocument
from schemas.receipt import Receipt
from schemas.review import Review

FOLDER = Path(__file__).parent / "generated"
FAMILIES: dict[str, type[msgspec.Struct]] = {
    "decision": Decision,
    "successor": Successor,
    "command": Command,
    "review": Review,
    "exception": ExceptionRecord,
    "receipt": Receipt,
    "policy": PolicyDocument,
}


def schema_of(name: str) -> dict[str, Any]:
    """One self-contained schema (its `$defs` inside)."""
    (top,), components = msgspec.json.schema_components([FAMILIES[name]], ref_template="#/$defs/{name}")
    body = components.pop(top["$ref"].removeprefix("#/$defs/"))
    if name == "decision":
        # a refusal that a Struct cannot state
        body["not"] = {"anyOf": [{"required": [field]} for field in sorted(LINEAGE_FIELDS)]}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://sluicegate.example/schemas/{name}.v1.json",
    }
    return {**head, **body, **({"$defs": components} if components else {})}


def rendered(name: str) -> str:
    return json.dumps(schema_of(name), indent=2) + "\n"


def main(check: bool) -> int:
    FOLDER.mkdir(exist_ok=True)
    stale = [
        name
        for name in FAMILIES
        if not (path := FOLDER / f"{name}.schema.json").exists() or path.read_text() != rendered(name)
    ]
    if check:
        for name in stale:
            print(f"schemas/generated/{name}.schema.json is not what the Structs say: run `make schemas`")
        return 1 if stale else 0
    for name in stale:
        (FOLDER / f"{name}.schema.json").write_text(rendered(name))
    print(f"schemas/generated: {len(stale)} written, {len(FAMILIES) - len(stale)} unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
