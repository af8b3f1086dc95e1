"""Freshness: acting on a world that has moved on is refused. At the deadline means too late.

deadline       = min(observed + budget, the producer's own expiry)               ends this attempt
final deadline = min(first observation + total, the producer's own expiry)       ends all attempts
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.decision import Successor
from streams.batch import Refused, Row
from streams.policy import Policy

NEVER_MS = 2**62


def deadlines(rows: Sequence[Row], policies: Sequence[Policy]) -> None:
    """Fills in `deadline_ms` and `final_deadline_ms` of each row."""
    if not rows:
        return
    decisions = [row.decision for row in rows if row.decision is not None]
    policy = np.array([row.policy for row in rows])
    observed = np.array([decision.observed_at_ms for decision in decisions])
    expires = np.array([NEVER_MS if (at := one.expires_at_ms) is None else at for one in decisions])
    final = observed + np.array([one.total_ms for one in policies])[policy]
    for index, decision in enumerate(decisions):
        if type(decision) is Successor:
            final[index] = decision.final_deadline_ms
    deadline_ms = np.minimum(observed + np.array([one.budget_ms for one in policies])[policy], expires)
    for row, own_ms, final_ms in zip(rows, deadline_ms.tolist(), np.minimum(final, expires).tolist(), strict=True):
        row.deadline_ms, row.final_deadline_ms = own_ms, final_ms


def drop_stale(rows: Sequence[Row], policies: Sequence[Policy], now_ms: int) -> None:
    """Refuses each row whose own or final deadline is not after `now_ms`."""
    if not rows:
        return
    ends = np.array([row.ends_ms for row in rows], dtype=np.int64)
    for index in np.flatnonzero(ends <= now_ms).tolist():
        row = rows[index]
        row.stage, row.refused = "freshness", _why(row, policies[row.policy], now_ms)


def _why(row: Row, policy: Policy, now_ms: int) -> Refused:
    decision = row.decision
    assert decision is not None
    if decision.observed_at_ms + policy.budget_ms <= now_ms:
        return Refused("stale.age", f"observed {row.age_ms} ms ago; the budget is {policy.budget_ms} ms")
    if decision.expires_at_ms is not None and decision.expires_at_ms <= now_ms:
        return Refused("stale.expired", f"the producer let it expire {now_ms - decision.expires_at_ms} ms ago")
    return Refused(
        "stale.age", f"its final deadline, over all attempts, passed {now_ms - row.final_deadline_ms} ms ago"
    )
