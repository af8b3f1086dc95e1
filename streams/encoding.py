"""Encoding a record so that it can be read: what comes out has been read back as its readers will.

msgspec checks the limits of fields (`Meta`) when it decodes and not when it encodes, and writes a number that JSON
does not have as null. So whoever encodes a record alone can write what nobody can read: a halt that cannot be resumed,
a policy that no worker loads. The stages of the gate do not read their own outputs back, for speed; a test holds them
against the same schemas instead.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from streams.foreign import Reader, Unreadable, told

_encode = msgspec.json.Encoder(order="deterministic").encode


class Unwritable(ValueError):
    """Raised for a record that its readers would refuse, or read as another one; nothing of it was written."""


def readable(record: msgspec.Struct) -> bytes:
    """The record's bytes, JSON: the same record is always the same bytes. Raises Unwritable."""
    kind = type(record)
    try:
        value = _encode(record)
    except (ValueError, RecursionError, OverflowError) as error:
        why = "a text in it is not UTF-8" if isinstance(error, UnicodeError) else told(error)
        raise Unwritable(f"no reader would take this {kind.__name__}: {why}") from error
    read = _reader(kind)(value)
    if isinstance(read, Unreadable):
        why = read.why.replace("`", "").replace(" - at $.", " at ")[:300]
        raise Unwritable(f"no reader would take this {kind.__name__}: {why}")
    if read != record:
        raise Unwritable(f"this {kind.__name__} would not be read as it is: {_differing(record, read)}")
    return value


@cache
def _reader(kind: type[msgspec.Struct]) -> Reader[Any]:
    return Reader(kind)


def _differing(record: msgspec.Struct, read: msgspec.Struct) -> str:
    names = [name for name in record.__struct_fields__ if getattr(record, name) != getattr(read, name)]
    return ", ".join(names) + " would read otherwise (a number that JSON does not have?)"
