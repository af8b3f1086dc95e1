"""Rejection: a record that was refused or explains nothing, and that nobody waits for an answer to. Counted, never
summed.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from schemas.common import Source

Reason = Literal[
    "invalid.oversized",
    "invalid.json",
    "invalid.schema",
    "invalid.key",
    "invalid.batch",  # a batch of records that cannot be read; `source` is the range of its offsets
    "invalid.poison",  # what became of it could not be decided or sent
    "lost.removed",  # the broker removed these records before they were read; `source` is their range
    "version.absent",
    "version.falling",
    "verdict.unsigned",  # no signature, or one that does not fit the bytes or a known key
    "verdict.by",  # the key may not speak for this person
    "verdict.role",  # nobody with this role may approve so much of this workflow
    "verdict.proposer",  # who proposed it may not approve it
    "verdict.digest",  # of another action than the one under review
    "verdict.unknown_review",
    "verdict.ended",  # the review has ended: late, or decided already
    "verdict.repeated",  # this person's answer stands already
    "verdict.halted",  # a halt applies: nothing in its scope can be approved
    "verdict.boundary",  # what is proposed is blocked, or may not be proposed
]
REJECTION_REASONS: tuple[Reason, ...] = get_args(Reason)


class Rejection(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What was refused and why. It may be written more than once, always with the same `rejection_id`.

    `raw` is the record's value (`raw_base64` where it is not UTF-8), cut at 64 KiB; hash and length are of the whole.
    """

    rejection_id: str
    reason: str
    detail: str
    raw: str | None
    raw_sha256: str
    raw_bytes: int
    source: Source
    raw_base64: str | None = None
