"""Superseding: a later observation of the same entity and action type retires an earlier one not acted on yet.

What counts is what went before: a decision that became a command or a review leaves its observation here, and one that
rests on an earlier observation is `superseded` from then on. Ties do not supersede. A
successor stands where its root stood: asked again, it has a new observation, but a decision that was observed after its
root and went before it has retired the root, and so its successors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from msgspec import Raw

from schemas.decision import Successor
from streams.batch import Refused, Remembered, Row
from streams.foreign import object_of
from streams.ring import SLOTS, Form, Planned, Ring, expires_ms

ENTITIES_MAX = 250_000  # (workflow, entity, action type) per partition number
OWNER_BYTES = 4
_ENTRY = struct.Struct(f">Qq{OWNER_BYTES}s")  # expires_ms, observed_at_ms, whose it is
_FORM = Form(8, _ENTRY.size - 8, OWNER_BYTES, before=(4, 8))


def action_type(action: bytes | Raw) -> str | None:
    """The `type` of an action that is an object with one."""
    read = object_of(bytes(action))
    kind = None if read is None else read.get("type")
    return kind if isinstance(kind, str) else None


class Standing(NamedTuple):
    """Where a row stands among those of its entity and action type."""

    key: bytes
    entry: bytes
    superseded: Refused | None = None


class Latest:
    """The latest observation that went out, by workflow, entity and action type, of one partition number."""

    def __init__(self, entities_max: int = ENTITIES_MAX, slots: int = SLOTS) -> None:
        self._ring = Ring(_FORM, entities_max, slots)

    def __len__(self) -> int:
        return len(self._ring)

    def standing(self, new: Remembered, row: Row, now_ms: int, tolerance_ms: int) -> Standing:
        """Whether the row is superseded, and what is to be noted in `new.latest` once it goes out after all.

        Called in the order of the input, for rows that become a command, a review or a question to the evaluator.
        """
        decision = row.decision
        assert decision is not None
        observed_ms = decision.observed_at_ms
        stands_at_ms = decision.first_observed_at_ms if type(decision) is Successor else observed_ms
        key = _digest(decision.workflow, decision.entity, action_type(bytes(decision.action)))
        known = new.latest.get(key) or self._ring.get(key)
        until_ms = row.final_deadline_ms + tolerance_ms
        if known is not None:
            known_until_ms, latest_ms, _ = _ENTRY.unpack(known)
            if expires_ms(known) > now_ms and latest_ms > stands_at_ms:
                told = f"a decision that was observed {latest_ms - stands_at_ms} ms later went before it"
                return Standing(key, known, Refused("superseded", told))
            # a successor's new observation may be behind one that its root's time did not see
            until_ms, observed_ms = max(until_ms, known_until_ms), max(observed_ms, latest_ms)
        return Standing(key, _ENTRY.pack(until_ms, observed_ms, owner_of(decision.workflow)))

    def plan(self, new: Remembered, now_ms: int) -> Planned | None:
        """What was noted, to be kept by `apply` once it is committed; see `Ring.plan`."""
        return self._ring.plan(new.latest, now_ms)

    def apply(self, planned: Planned) -> None:
        """See `Ring.apply`."""
        self._ring.apply(planned)

    def restore(self, values: Iterable[bytes], now_ms: int) -> None:
        """Reads the changelog back; see `Ring.restore`."""
        self._ring.restore(values, now_ms)


@lru_cache(4_096)
def owner_of(workflow: str) -> bytes:
    """Whose an entry of a ring is, in a few bytes. Two workflows that share them can push out each other's oldest."""
    return sha256(workflow.encode()).digest()[:OWNER_BYTES]


def _digest(workflow: str, entity: str, kind: str | None) -> bytes:
    parts = (workflow, entity, kind or "")
    return sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode()).digest()[:16]
