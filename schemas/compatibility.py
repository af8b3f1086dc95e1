"""What must not change in a published schema within a major version, and whether it did.

What others write (decisions, receipts, context, answers, policies) must stay accepted: the schema of today takes
everything that the released one took. What others read (commands, reviews, exceptions, requests, questions) must stay
understood: the released schema takes everything that is written today. So one question answers both: does this schema
refuse what that one takes? Added fields are welcome in both directions (readers ignore unknown fields, the gate carries
them); removed ones in neither. An `x-extensible-enum` is an open list: readers accept unknown codes, and no code is
ever removed from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Side = Literal["written by others", "read by others"]
# Who stands on the other side of each family. A successor is written and read by Sluicegate alone, in two releases at
# once while workers are replaced one by one: what the older one writes, the newer one must take. So it is with what
# stands on `policies` for ever; of that, others read halts and recalls.
SIDES: Mapping[str, Side] = {
    "decision": "written by others",
    "successor": "written by others",
    "receipt": "written by others",
    "context": "written by others",
    "answer": "written by others",
    "policy": "written by others",
    "command": "read by others",
    "review": "read by others",
    "exception": "read by others",
    "reevaluation": "read by others",
    "question": "read by others",
    "rejection": "read by others",
    "verdict": "written by others",
    "halt": "read by others",
    "recall": "read by others",
    "heartbeat": "written by others",
    "published_policy": "written by others",
    "current": "written by others",
    "preapproval": "written by others",
}
OPEN_LIST = "x-extensible-enum"
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
# anything else in a schema is a shape that this module does not know how to compare
_ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description", "default", "examples", OPEN_LIST})
_COMPARED = frozenset(
    {*_LOWER, *_UPPER, "type", "enum", "const", "pattern", "format", "not"}
    | {"properties", "required", "additionalProperties", "items", "anyOf", "$ref"}
)


class Breaking(NamedTuple):
    """One change that breaks the other side. `path` is of the field, `was` and `became` say what stands there."""

    path: str
    was: str
    became: str

    def __str__(self) -> str:
        return f"{self.path or 'the record'}: was {self.was}, now {self.became}"


class _Gap(NamedTuple):
    """`taken` by the one schema, and not by the other, which has `there`."""

    path: str
    taken: str
    there: str


def breaking(family: str, released: Mapping[str, Any], now: Mapping[str, Any]) -> list[Breaking]:
    """Everything in `now` that breaks who relies on `released`; both are JSON Schemas as `schemas.generate` writes.

    Raises KeyError for a family that nobody has assigned a side, and ValueError for a keyword that cannot be compared.
    """
    found = [Breaking(path, "there", "gone") for path in _removed(released, now)]
    gone = {one.path for one in found}
    if SIDES[family] == "written by others":
        gaps = _Compare(released, now).gaps(released, now, "")
        found += [Breaking(gap.path, gap.taken, gap.there) for gap in gaps]
    else:
        gaps = _Compare(now, released).gaps(now, released, "")
        found += [Breaking(gap.path, gap.there, gap.taken) for gap in gaps if gap.path not in gone]
    return found


def _removed(released: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Fields and codes of open lists that were there."""
    left = {path for path, _ in _named(now, now, "", ())}
    return [path for path, _ in _named(released, released, "", ()) if path not in left]


def _named(
    root: Mapping[str, Any], schema: Mapping[str, Any], path: str, through: tuple[str, ...]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "$ref" in schema:
        if schema["$ref"] in through:
            return
        through = (*through, schema["$ref"])
    schema = _resolved(root, schema)
    for code in schema.get(OPEN_LIST, ()):
        yield f"{path} code {code}", schema
    for one in schema.get("anyOf", ()):
        yield from _named(root, one, path, through)
    if isinstance(items := schema.get("items"), dict):
        yield from _named(root, items, f"{path}[]", through)
    if isinstance(values := schema.get("additionalProperties"), dict):
        yield from _named(root, values, f"{path}.*", through)
    for name, one in schema.get("properties", {}).items():
        inner = f"{path}.{name}".removeprefix(".")
        yield inner, one
        yield from _named(root, one, inner, through)


def _resolved(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    target: Mapping[str, Any] = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


def _alternatives(root: Mapping[str, Any], schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schema as a list of plain ones, any of which may hold; a list of constants is one for each type."""
    schema = _resolved(root, schema)
    if unknown := set(schema) - _ANNOTATIONS - _COMPARED:
        raise ValueError(f"schemas.compatibility cannot compare {', '.join(sorted(unknown))}: teach it to")
    if "anyOf" in schema:
        rest = {key: value for key, value in schema.items() if key in _COMPARED and key != "anyOf"}
        return [{**rest, **one} for inner in schema["anyOf"] for one in _alternatives(root, inner)]
    plain = {key: value for key, value in schema.items() if key in _COMPARED}
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if "enum" in plain:
        by_type: dict[str, list[Any]] = {}
        for value in plain["enum"]:
            by_type.setdefault(_type_of(value), []).append(value)
        return [{**plain, "type": kind, "enum": values} for kind, values in by_type.items()]
    if isinstance(kinds := plain.get("type"), list):
        return [{**plain, "type": kind} for kind in kinds]
    return [plain]


def _type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return names.get(type(value), "object")


class _Compare:
    """What one schema (`taking`) takes and the other (`other`) does not."""

    def __init__(self, taking: Mapping[str, Any], other: Mapping[str, Any]) -> None:
        self._taking, self._other = taking, other
        self._under_way: set[tuple[str, str]] = set()

    def gaps(self, taking: Mapping[str, Any], other: Mapping[str, Any], path: str) -> list[_Gap]:
        pair = (json.dumps(taking, sort_keys=True), json.dumps(other, sort_keys=True))
        if pair in self._under_way:
            return []  # a schema within itself: already being compared
        self._under_way.add(pair)
        found = []
        offered = _alternatives(self._other, other)
        for one in _alternatives(self._taking, taking):
            attempts = [self._plain(one, another, path) for another in offered if _same_type(one, another)]
            if not attempts:
                kinds = " or ".join(str(another.get("type", "anything")) for another in offered)
                found.append(_Gap(path, str(one.get("type", "anything")), f"only {kinds}"))
            else:
                nearest: list[_Gap] = min(attempts, key=len)
                found += nearest
        self._under_way.discard(pair)
        return found

    def _plain(self, one: dict[str, Any], other: dict[str, Any], path: str) -> list[_Gap]:
        found = [
            _Gap(path, f"any {one.get('type', 'value')}" if mine is None else f"{key} {mine}", f"{key} {theirs}")
            for key in (*_LOWER, *_UPPER, "pattern", "format", "not")
            if (theirs := other.get(key)) is not None and not _within(key, mine := one.get(key), theirs)
        ]
        if "enum" in other:
            extra = [value for value in one.get("enum", ["anything"]) if value not in other["enum"]]
            if extra:
                found.append(_Gap(path, f"also {', '.join(map(str, extra))}", f"only {_listed(other['enum'])}"))
        found += self._fields(one, other, path)
        if isinstance(other.get("items"), dict):
            found += self.gaps(one.get("items", {}), other["items"], f"{path}[]")
        return found

    def _fields(self, one: dict[str, Any], other: dict[str, Any], path: str) -> list[_Gap]:
        mine, theirs = one.get("properties", {}), other.get("properties", {})
        asked = sorted(set(other.get("required", ())) - set(one.get("required", ())))
        found = [_Gap(f"{path}.{name}".removeprefix("."), "optional", "required") for name in asked]
        for name in mine.keys() & theirs.keys():
            found += self.gaps(mine[name], theirs[name], f"{path}.{name}".removeprefix("."))
        extra, allowed = one.get("additionalProperties", True), other.get("additionalProperties", True)
        if allowed is False and extra is not False:
            found.append(_Gap(path, "open to other fields", "closed"))
        elif isinstance(allowed, dict) and extra is not False:
            found += self.gaps(extra if isinstance(extra, dict) else {}, allowed, f"{path}.*")
        return sorted(found)


def _same_type(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    wanted, offered = one.get("type"), other.get("type")
    return offered is None or wanted == offered or (wanted == "integer" and offered == "number")


def _within(key: str, mine: Any, theirs: Any) -> bool:
    """Whether what `mine` allows is allowed by `theirs` too, for one keyword."""
    if mine is None:
        return False
    if key in _LOWER:
        return bool(mine >= theirs)
    return bool(mine <= theirs) if key in _UPPER else bool(mine == theirs)


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values))
