"""Pre-approvals: approvals that a person gave beforehand, for reviews that come within a time and a scope."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.decision import Decision
from schemas.published import Preapproval
from schemas.review import Review
from streams.review_keys import Keys, Unauthorised, is_within, may_not
from streams.review_life import Seen
from streams.review_open import decision_of, kind_of_action
from streams.review_rules import halted


def approvers(review: Review, seen: Seen, keys: Keys) -> Iterator[str]:
    """Who has approved this review beforehand: each of them may, and is named once.

    Nobody approves what is halted, or stale already: that would ask an evaluator again without anybody looking.
    """
    policy, granted = seen.policy(review), seen.snapshot.preapprovals
    if not granted or policy is None or review.fresh_until_ms <= seen.now_ms:
        return
    decision, named = decision_of(review), set(review.approvals)
    if halted(decision, seen.snapshot) is not None:
        return
    for one in granted:
        given = one.preapproval
        if given.by in named or given.by == decision.proposer or not _covers(given, decision, seen.now_ms):
            continue
        roles = keys.roles(one.signature, one.value, given.by)
        if isinstance(roles, Unauthorised):
            continue
        if may_not(roles, policy.document.review.approvers, decision) is None:
            named.add(given.by)
            yield given.by


def _covers(given: Preapproval, decision: Decision, now_ms: int) -> bool:
    if given.revoked or not given.from_ms <= now_ms < given.until_ms or given.workflow != decision.workflow:
        return False
    narrowed = (
        (given.segment, decision.segment),
        (given.action_type, kind_of_action(decision)),
        (given.entity, decision.entity),
    )
    if any(wanted is not None and wanted != found for wanted, found in narrowed):
        return False
    if given.value_minor_at_most is None:
        return True
    return is_within(decision, given.value_minor_at_most, given.currency)
