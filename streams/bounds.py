"""Bounds of what goes out, so that every record fits by construction: what is longer becomes its hash and its length.

The topics of outputs take records of 2 MiB (`schemas.topics`). A record of ours is at most: a decision of 256 KiB that
travels as it came, its parts that stand beside it once more (256 KiB together), a history of 100 attempts, 64 KiB of
what could not be read, each byte of it escaped to six; and texts, keys and headers within the bounds below. A test
builds the largest of each family.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from schemas.common import Source
from schemas.decision import Decision

OWN_BYTES_MAX = 1024 * 1024  # what is read as ours: twice the largest that we write, and half of what a topic takes
KEY_BYTES_MAX = 800  # an entity has at most 200 characters; a longer key names none
POLICIES_KEY_BYTES_MAX = 16_384  # on `policies`: percent-encoded, each of four names of 200 characters may take 2,400
DETAIL_CHARS_MAX = 1_000  # one sentence for a person
HEADER_BYTES_MAX = 4_000  # of one that holds such a sentence
NAME_CHARS_MAX = 512  # ids, policies (`<workflow>@<version>`), topics (249): all of ours are shorter
_TEXTS = frozenset({"detail", "proposer", "segment", "currency", "model"})  # carried as they came, with a bound of all


def bounded_key(key: bytes | None, bytes_max: int = KEY_BYTES_MAX) -> bytes | None:
    """The key of what answers a record with this key: the same, or where it is too long its hash and length."""
    if key is None or len(key) <= bytes_max:
        return key
    return b"sha256:%s/%d" % (sha256(key).hexdigest().encode(), len(key))


def bounded(text: str) -> str:
    """A sentence that may quote what it found, cut where it goes on for too long."""
    return text if len(text) <= DETAIL_CHARS_MAX else f"{text[:DETAIL_CHARS_MAX]} ... ({len(text)} characters)"


def oversized(value: bytes) -> str:
    """Why a record that is read as one of ours is none."""
    return f"the value has {len(value)} bytes; no record of Sluicegate has more than {OWN_BYTES_MAX}"


def strange(record: Any, decision: Decision) -> str | None:
    """The field of a record that claims to be ours with a name longer than any that we write; None: there is none.

    Names go on as keys, headers and parts of other records; so a record may be small, and what becomes of it not.
    """
    for name in record.__struct_fields__:
        found = getattr(record, name)
        if isinstance(found, str) and name not in _TEXTS and len(found) > NAME_CHARS_MAX:
            return str(name)
        if isinstance(found, Source) and len(found.topic) > NAME_CHARS_MAX:
            return f"{name}.topic"
    return "entity" if len(record.entity) > 200 or len(decision.entity) > 200 else None
