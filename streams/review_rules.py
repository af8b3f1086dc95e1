"""What the policy of the moment, and the halts, say of an action under review."""

from __future__ import annotations

from schemas.decision import Decision
from schemas.identifiers import root_digest
from streams.batch import Fetched, Refused, Row
from streams.boundary import bound
from streams.halts import Halted
from streams.path import Snapshot
from streams.policy import Policy


def blocked(decision: Decision, policy: Policy) -> Refused | None:
    """Why the boundary blocks it, or None. That it wants a person to look at it, one has."""
    row = _row(decision, policy.index)
    bound([row], (policy,) * (policy.index + 1))
    return row.refused


def halted(decision: Decision, snapshot: Snapshot) -> Halted | None:
    """A halt that applies to it."""
    return snapshot.halts.over_row(_row(decision, 0)) if snapshot.halts else None


def _row(decision: Decision, index: int) -> Row:
    nowhere = Fetched("", "reviews", 0, [0], [0], [None], [None], False, 0)
    digest = root_digest(decision.id)
    return Row(nowhere, 0, 0, None, decision, None, "boundary", digest, digest, index)
