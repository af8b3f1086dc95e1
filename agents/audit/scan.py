"""Finds the fields of a JSON object and the exact text of one of them, as it stood in the record.

`json.loads` alone would lose how a number or a space was written, which is what "byte for byte" is about. Walking the
members one by one finds it always and is slow; where the name is spelt once in the whole text it is found at a stroke.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, NoReturn

_skip_space = re.compile(r"[ \t\n\r]*").match


class _Repeating(dict[str, Any]):
    """An object in which a name occurs twice; the last one counts, as for `json.loads`."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else _Repeating(fields)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object).decode
_decode_at = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


class Document(NamedTuple):
    """A JSON object: its fields, the exact text of the member asked for, and whether a name occurs twice."""

    fields: dict[str, Any]
    verbatim: str | None
    repeated: bool


def document(value: bytes | None, name: str) -> Document | None:
    """Returns the object in `value` with the exact text of its member `name` (lower-case letters).

    None for all that is no JSON object.
    """
    if not value:
        return None
    try:
        text = value.decode()
        fields = _decode(text)
        if not isinstance(fields, dict):
            return None
        if isinstance(fields, _Repeating):
            return walk(text, name)
        if name not in fields:
            return Document(fields, None, False)
        return Document(fields, _spelt_once(text, name) or walk(text, name).verbatim, False)
    except (ValueError, RecursionError):
        return None


def _spelt_once(text: str, name: str) -> str | None:
    """The member's text, if the name can stand nowhere else: it occurs once, and no letter is written as an escape."""
    spelt = f'"{name}"'
    if text.count(spelt) != 1 or "\\u006" in text or "\\u007" in text:
        return None
    start = _space(text, _expect(text, text.index(spelt) + len(spelt), ":"))
    _, end = _decode_at(text, start)
    return text[start:end]


def walk(text: str, name: str) -> Document:
    """Reads the object member by member; raises ValueError where it is none."""
    fields: dict[str, Any] = {}
    verbatim: str | None = None
    repeated = False
    at = _space(text, _expect(text, 0, "{"))
    if text[at : at + 1] != "}":
        at -= 1
        sign = ","
        while sign == ",":
            key, at = _decode_at(text, _expect(text, at + 1, '"') - 1)
            start = _space(text, _expect(text, at, ":"))
            member, end = _decode_at(text, start)
            if key == name:
                verbatim = text[start:end]
            repeated = repeated or key in fields
            fields[key] = member
            at = _space(text, end)
            sign = text[at : at + 1]
    if _space(text, _expect(text, at, "}")) != len(text):
        raise ValueError("text after the object")
    return Document(fields, verbatim, repeated)


def _space(text: str, at: int) -> int:
    match = _skip_space(text, at)
    assert match is not None  # the pattern matches the empty string
    return match.end()


def _expect(text: str, at: int, sign: str) -> int:
    at = _space(text, at)
    if text[at : at + 1] != sign:
        raise ValueError(f"{sign} expected at {at}")
    return at + 1
