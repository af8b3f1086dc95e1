"""An open review, as its partition remembers it: the review as it stands, and the place where it was opened.

Written to the changelog as one record, `open/<review_id>`, with every change, and taken away with the ending.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas import headers as names
from schemas.common import Source
from schemas.decision import Decision, Successor
from schemas.review import Review
from streams.headers import TRACE_BYTES_MAX, Came
from streams.superseding import action_type

_decode = msgspec.json.Decoder  # one per type
_encode = msgspec.json.Encoder().encode
_decision = _decode(Decision).decode
_successor = _decode(Successor).decode
_members = _decode(dict[str, Raw]).decode
_TRACE = (names.TRACEPARENT, names.TRACESTATE)


class Open(Struct, frozen=True, omit_defaults=True, gc=False):
    """`review` is as it stands now; `place` and `trace` are those of the record that opened it."""

    review: Review
    place: Source
    trace: dict[str, str] = {}

    @property
    def came(self) -> Came:
        """The headers that go on with whatever becomes of it."""
        return [(name, text.encode()) for name, text in self.trace.items()]


_open = _decode(Open).decode


def opened(review: Review, place: Source, came: Came) -> Open:
    """A review that was just read at `place`."""
    trace: dict[str, str] = {}
    for name, value in came:
        if name in _TRACE and value is not None and len(value) <= TRACE_BYTES_MAX and value.isascii():
            trace.setdefault(name, value.decode())
    return Open(review, place, trace)


def packed(one: Open) -> bytes:
    """Its record in the changelog."""
    return _encode(one)


def unpacked(value: bytes) -> Open:
    """Raises ValueError where it is none."""
    return _open(value)


def decision_of(review: Review) -> Decision | Successor:
    """The decision under review, with the proposer that the gate knew."""
    read = _successor if review.attempt > 1 else _decision
    found: Decision | Successor = read(bytes(review.decision))
    if found.proposer is None and review.proposer is not None:
        found = msgspec.structs.replace(found, proposer=review.proposer)
    return found


def kind_of_action(decision: Decision) -> str | None:
    return action_type(bytes(decision.action))


def final_ms(review: Review) -> int:
    """When everything ends, all attempts and reviews."""
    return review.deadline_ms if review.final_deadline_ms is None else review.final_deadline_ms


def changed(decision: Raw, members: dict[str, Any]) -> Raw:
    """The decision's text with other members; those that stay are the same bytes."""
    whole = _members(bytes(decision))
    whole |= {name: value if isinstance(value, Raw) else Raw(_encode(value)) for name, value in members.items()}
    return Raw(_encode(whole))
