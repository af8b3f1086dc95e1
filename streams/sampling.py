"""Audit sampling: of what ran without a person, a share is shown to one afterwards.

The draw is the id's own hash, so it is the same wherever and whenever it is made: who knows the share knows the sample.
A sample is a further record beside the command, in the same transaction. Nothing waits for it and it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

from msgspec.json import Encoder
from msgspec.structs import replace

from schemas.topics import RETENTION_MS
from streams.batch import Row, Sent
from streams.headers import HeaderSettings, headers_of
from streams.policy import Policy
from streams.publish import review_of, sla_ms

REASON = "audit_sample"
_ALL = 2**64
_encode = Encoder().encode


def is_drawn(decision_id: str, share: float) -> bool:
    """Whether the decision of this id is in a sample of this share, 0 to 1. A larger share holds a smaller one's."""
    drawn = sha256(f"{REASON}:{decision_id}".encode("utf-8", "surrogatepass")).digest()[:8]
    return int.from_bytes(drawn) < share * _ALL


def sample(
    rows: Sequence[Row], policies: Sequence[Policy], gated_at_ms: int, settings: HeaderSettings
) -> tuple[list[Sent], Counter[str]]:
    """The samples among rows that become commands, and how many there are of each workflow. Raises nothing."""
    drawn: list[Sent] = []
    counts: Counter[str] = Counter()
    if not any(policy.document.boundary.audit_sample for policy in policies):
        return drawn, counts
    for row in rows:
        policy, decision = policies[row.policy], row.decision
        share = policy.document.boundary.audit_sample
        if share and decision is not None and is_drawn(decision.id, share):
            drawn.append(_sample(row, policy, gated_at_ms, settings))
            counts[policy.workflow] += 1
    return drawn, counts


def _sample(row: Row, policy: Policy, gated_at_ms: int, settings: HeaderSettings) -> Sent:
    # a person may look at it for as long as topics keep it, unless the policy names a time; nothing escalates
    terms = policy.document.review
    until_ms = gated_at_ms + (sla_ms(terms.sla) or RETENTION_MS)
    review = replace(
        review_of(row, policy, gated_at_ms, [REASON]),
        kind="audit_sample",
        fresh_until_ms=row.ends_ms,
        escalate_at_ms=until_ms,
        deadline_ms=until_ms,
    )
    return Sent("reviews", row.key, _encode(review), headers_of(row, "reviews", review.review_id, until_ms, settings))
