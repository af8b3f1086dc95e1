"""What a change of policy makes of a review that was opened before it: it is kept, invalidated or asked again.

A pointer remembers its moves. Those after the one under which the review was opened are looked at in their order, each
with what its author said about pending reviews; so it does not matter when, or how often, they are looked at.
"""

from __future__ import annotations

from typing import NamedTuple

from schemas.published import Current, Move, Pending


class Change(NamedTuple):
    """The first move that ends the review, and what it says."""

    pending: Pending
    version: int
    by: str
    why: str


def change(policy: str, gated_at_ms: int, current: Current | None) -> Change | None:
    """What the moves since say of a review that was opened at `gated_at_ms` under `policy`, `billing@3`.

    Opened under: the newest move to that version not later than the review, or by another clock the oldest one after
    it. A version that no move names is older than all of them. None: it stays.
    """
    if current is None:
        return None
    newest = Move(current.version, current.pending, current.by, current.why, current.at_ms)
    moves = [newest, *current.before]
    version = int(policy.rpartition("@")[2])
    own = [at for at, move in enumerate(moves) if move.version == version]
    if own:
        before = [at for at in own if moves[at].at_ms <= gated_at_ms]
        moves = moves[: before[0] if before else own[-1]]
    for move in reversed(moves):
        if move.pending != "keep":
            return Change(move.pending, move.version, move.by, move.why)
    return None
