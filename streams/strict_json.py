"""What CONTRACT.md refuses in a value and the fast decoders let pass; told precisely, at any cost.

This is the slow road. `ingest` takes it only when a value failed to decode, or when the cheap proofs that it is
clean do not hold; so it may be a hundred times slower, but it is linear and bounded by the size limit.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from schemas.common import DEPTH_MAX, NUMBER_DIGITS_MAX

BOM = b"\xef\xbb\xbf"

# Takes an unterminated string to the end: each byte is looked at once, whatever the value is.
_STRING = re.compile(rb'"(?:[^"\\]|\\.|\\\Z)*+(?:"|\Z)', re.DOTALL)
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")

LOOKED_AT = ("attributes", "action")  # what rules see as a whole: conditions, steps of a chain, expressions
NAME_MAX, PATH_MAX = 80, 200  # characters of a name, and of where it stands, in the sentence

Problem = tuple[str, str]  # reason code, one sentence


def examine(value: bytes) -> Problem | None:
    """The first of `invalid.encoding`, `.json`, `.schema` that applies to these bytes as such, or None.

    Which fields a decision must have is not looked at here.
    """
    return _encoding(value) or _grammar(value) or _repeats(value)


def _encoding(value: bytes) -> Problem | None:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return "invalid.encoding", f"the value is not UTF-8: byte {error.start} cannot be read"
    if (at := value.find(BOM)) >= 0:
        return "invalid.encoding", f"the value has a byte order mark at byte {at}"
    if b"\\u" in value and (at := _lone_surrogate(value)) >= 0:
        return "invalid.encoding", f"the value has a lone surrogate escaped at byte {at}"
    return None


def _lone_surrogate(value: bytes) -> int:
    """Where the first escaped surrogate without its other half stands, or -1."""
    high_end = high_at = -1  # the high half that waits for its low half
    for escape in _ESCAPE.finditer(value):
        unit = int(escape[1], 16) if escape[1] else 0
        if high_at >= 0 and (escape.start() != high_end or not 0xDC00 <= unit <= 0xDFFF):
            return high_at
        if high_at >= 0:
            high_at = -1
        elif 0xD800 <= unit <= 0xDBFF:
            high_at, high_end = escape.start(), escape.end()
        elif 0xDC00 <= unit <= 0xDFFF:
            return escape.start()
    return high_at


def _grammar(value: bytes) -> Problem | None:
    bare = _STRING.sub(b'""', value)
    depth = deepest = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket[0] in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > DEPTH_MAX:
        return "invalid.json", f"nested {deepest} deep; at most {DEPTH_MAX} is allowed"
    for number in _NUMBER.finditer(bare):
        digits = sum(48 <= char <= 57 for char in number[0])
        if digits > NUMBER_DIGITS_MAX:
            return "invalid.json", f"a number of {digits} digits; at most {NUMBER_DIGITS_MAX} are allowed"
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return "invalid.json", f"the value is not JSON: {error}"
    return None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as its pairs, repeats kept."""


def _repeats(value: bytes) -> Problem | None:
    """A key that stands twice at the top, or anywhere that a rule can look: within `attributes` and `action`."""
    top = json.JSONDecoder(object_pairs_hook=_Pairs).decode(value.decode())
    if not isinstance(top, _Pairs):
        return "invalid.schema", "the value is JSON but no object"
    where = _repeated(top)
    for field, inner in top:
        if where is None and field in LOOKED_AT and (below := _repeated_within(inner)) is not None:
            where = field + below
    return None if where is None else ("invalid.schema", f"{where[:PATH_MAX]}: the field stands twice")


def _repeated_within(value: Any) -> str | None:
    """The path, from here, of a key that stands twice in this value. How deep it is has been looked at before."""
    if isinstance(value, _Pairs):
        if (name := _repeated(value)) is not None:
            return f".{name}"
        for name, one in value:
            if isinstance(one, list) and (below := _repeated_within(one)) is not None:
                return f".{name[:NAME_MAX]}{below}"
    elif isinstance(value, list):
        for place, one in enumerate(value):
            if isinstance(one, list) and (below := _repeated_within(one)) is not None:
                return f"[{place}]{below}"
    return None


def _repeated(pairs: _Pairs) -> str | None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name[:NAME_MAX]
        seen.add(name)
    return None
