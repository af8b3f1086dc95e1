"""What differs between two policy documents: field by field with paths, rules and limits by their names.

An order of rules matters, so a rule that changed its place among those that are in both is told as moved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.policy import PolicyDocument

Kind = Literal["added", "removed", "changed", "moved"]
# lists of things that have a name each
NAMED = {"boundary.rules": "name", "boundary.exposure": "name", "review.approvers": "role"}
_MISSING = object()


class Difference(NamedTuple):
    """One thing that differs. `path`: `boundary.rules[small].limits.value_minor_at_most`; what is not there is None.

    Of a rule that moved, `before` and `after` are its places, counted from 1.
    """

    kind: Kind
    path: str
    before: Any
    after: Any


def differences(before: PolicyDocument, after: PolicyDocument) -> list[Difference]:
    """Everything that differs, in the order of the document. What is not written counts with its default."""
    return list(_object("", msgspec.to_builtins(before), msgspec.to_builtins(after)))


def _object(path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in [*before, *(name for name in after if name not in before)]:
        here = f"{path}.{name}" if path else name
        yield from _value(here, before.get(name, _MISSING), after.get(name, _MISSING))


def _value(path: str, before: Any, after: Any) -> Iterator[Difference]:
    if _same(before, after):
        return
    if before is _MISSING or before is None:
        yield Difference("added", path, None, after)
    elif after is _MISSING or after is None:
        yield Difference("removed", path, before, None)
    elif path in NAMED:
        yield from _named(path, before, after)
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _object(path, before, after)
    else:
        yield Difference("changed", path, before, after)


def _same(before: Any, after: Any) -> bool:
    """JSON's idea of equal, which is not Python's: `true` is no 1."""
    return before is after or (before == after and msgspec.json.encode(before) == msgspec.json.encode(after))


def _named(path: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Iterator[Difference]:
    """By name; where a name stands twice (only rules may not), by their order under that name."""
    old, new = _by_name(path, before), _by_name(path, after)
    kept = [name for name in old if name in new]
    stays = _stays(kept, [name for name in new if name in old])
    places = {name: (list(old).index(name) + 1, list(new).index(name) + 1) for name in kept}
    for name, one in old.items():
        here = f"{path}[{name}]"
        if name not in new:
            yield Difference("removed", here, one, None)
            continue
        if name not in stays:
            yield Difference("moved", here, *places[name])
        yield from _object(here, one, new[name])
    for name, one in new.items():
        if name not in old:
            yield Difference("added", f"{path}[{name}]", None, one)


def _by_name(path: str, things: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for thing in things:
        name, count = str(thing[NAMED[path]]), 1
        while (key := name if count == 1 else f"{name} #{count}") in found:
            count += 1
        found[key] = thing
    return found


def _stays(before: list[str], after: list[str]) -> set[str]:
    """Those of which one can say that they stayed where they were, and the others moved around them."""
    blocks = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return {name for block in blocks for name in before[block.a : block.a + block.size]}
