"""The life of a review: what a verdict, the clock, a change of policy or a later observation makes of it. Pure.

    open --approve, short of the quorum--> open          told again, with who has approved it
    open --approve, the quorum-----------> command       where the re-check holds, at that moment
                                         > asked again   past `fresh_until_ms`, or so close to it that no command would
                                                         be of use; outdated, or blocked by now; where nobody can be
                                                         asked in time it ends as `review.outdated`
    open --reject------------------------> rejected
    open --modify------------------------> open          another action, approved by whoever proposes it; with a
                                                         quorum of one it goes on as approved
    open --half of its time--------------> open          told again, escalated
    open --`deadline_ms`-----------------> expired
    open --a policy that says so---------> invalidated, or asked again
    open --a later observation-----------> superseded

A verdict that does not fit is a `Refusal`, and nothing changes.
"""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

import msgspec

from schemas.common import VALUE_BYTES_MAX
from schemas.decision import Decision
from schemas.identifiers import action_digest
from schemas.rejection import Reason
from schemas.review import Review
from schemas.verdict import NO_ACTION, Verdict
from streams.batch import Refused
from streams.context import Contexts
from streams.freshness import NEVER_MS, context_moved
from streams.ingest import refusal
from streams.path import Snapshot
from streams.policy import Policy
from streams.review_keys import may_not
from streams.review_later import Later
from streams.review_open import changed, decision_of, final_ms, kind_of_action
from streams.review_pending import change
from streams.review_rules import blocked, halted

REJECTED, EXPIRED, OUTDATED, INVALIDATED = "review.rejected", "review.expired", "review.outdated", "review.invalidated"
# What a transaction may take. Without it, a worker that catches up would have in every batch an approval whose time
# runs out before the commit, and decide it again and again.
COMMIT_MS = 500
_plain = msgspec.json.Encoder().encode


class Seen(NamedTuple):
    """The world at the moment of a step."""

    now_ms: int
    snapshot: Snapshot
    contexts: Contexts

    def policy(self, review: Review) -> Policy | None:
        return self.snapshot.by_workflow.get(review.workflow)


class Refusal(NamedTuple):
    """A verdict that changes nothing."""

    reason: Reason
    detail: str


class Stays(NamedTuple):
    """It is still open, and is told again as it stands now."""

    review: Review


class Issued(NamedTuple):
    """It becomes a command."""

    review: Review


class Again(NamedTuple):
    """The evaluator is asked."""

    review: Review
    why: Refused


class Ended(NamedTuple):
    """It ends with an exception."""

    review: Review
    why: Refused


Step = Stays | Issued | Again | Ended


def answer(review: Review, said: Verdict, roles: Set[str], seen: Seen) -> Step | Refusal:
    """What a verdict makes of it; that `said.by` has signed it, in these roles, is known."""
    decision = decision_of(review)
    if (wrong := _unfit(review, decision, said, roles, seen)) is not None:
        return wrong
    if said.verdict == "reject":
        note = f": {said.note}" if said.note else ""
        return Ended(review, Refused(REJECTED, f"{said.by} rejects it{note}"[:1000]))
    if said.verdict == "modify":
        modified = _modified(review, decision, said, roles, seen)
        if isinstance(modified, Refusal):
            return modified
        review, decision = modified, decision_of(modified)
    if (stop := halted(decision, seen.snapshot)) is not None:
        return Refusal("verdict.halted", f"nothing can be approved: {stop}")
    return approved(review, said.by, seen)


def _unfit(review: Review, decision: Decision, said: Verdict, roles: Set[str], seen: Seen) -> Refusal | None:
    if said.by == decision.proposer:
        return Refusal("verdict.proposer", f"{said.by!r:.200} proposed it, and may not answer it")
    policy = seen.policy(review)
    if policy is None:
        return Refusal("verdict.role", f"no policy of the workflow {review.workflow!r:.200} is in force")
    why = may_not(roles, policy.document.review.approvers, decision)
    if why is not None:
        return Refusal("verdict.role", why)
    if said.by in review.approvals:
        return Refusal("verdict.repeated", f"{said.by!r:.200} has approved it already; a person answers once")
    if said.action_digest != review.action_digest:
        told = f"it is of {said.action_digest!r:.200}; the action under review is {review.action_digest}"
        return Refusal("verdict.digest", told)
    return None


def approved(review: Review, by: str, seen: Seen) -> Step:
    """One more person approves it, who may."""
    review = msgspec.structs.replace(review, approvals=[*review.approvals, by])
    if len(review.approvals) < review.quorum:
        return Stays(review)
    why = _outdated(review, seen)
    return Issued(review) if why is None else ask_again(review, why, seen)


def _outdated(review: Review, seen: Seen) -> Refused | None:
    """The re-check at the moment of approval: freshness, context and boundary. Why it fails, or None."""
    policy, decision = seen.policy(review), decision_of(review)
    assert policy is not None, "a verdict without a policy is refused"
    if review.fresh_until_ms <= seen.now_ms:
        age_ms = max(0, seen.now_ms - decision.observed_at_ms)
        return Refused("stale.age", f"approved when it was {age_ms} ms old, past the deadline of its attempt")
    kept_back_ms = max(COMMIT_MS, policy.freshness.reserve.initial_ms)
    if (left_ms := review.fresh_until_ms - seen.now_ms) <= kept_back_ms:
        told = f"{left_ms} ms are left, and {kept_back_ms} ms are kept back for the transaction and the executor"
        return Refused("stale.unactionable", told)
    fields = policy.freshness.context
    if fields is not None and (moved := context_moved(decision, fields, seen.contexts)) is not None:
        return moved
    return blocked(decision, policy)


def ask_again(review: Review, why: Refused, seen: Seen) -> Again | Ended:
    """The evaluator, where there is one and time and an attempt are left."""
    policy = seen.policy(review)
    if policy is None or policy.evaluator is None:
        told = f"{why.detail}; no evaluator can be asked again"
    elif review.attempt >= policy.freshness.max_attempts:
        told = f"{why.detail}; attempt {review.attempt} of {policy.freshness.max_attempts} was the last"
    elif seen.now_ms >= final_ms(review):
        told = f"{why.detail}; its final deadline has passed"
    else:
        return Again(review, why)
    return Ended(review, Refused(OUTDATED, told))


def _modified(review: Review, decision: Decision, said: Verdict, roles: Set[str], seen: Seen) -> Review | Refusal:
    """The review of the proposed action, approved by nobody yet; or why it may not be proposed."""
    policy = seen.policy(review)
    assert policy is not None, "a verdict without a policy is refused"
    if (wrong := _malformed(decision, said, policy.freshness.skew_tolerance_ms, seen.now_ms)) is not None:
        return Refusal("invalid.schema", wrong)
    members = {
        name: value
        for name in ("value_minor", "currency", "observed_at_ms", "context_version")
        if (value := getattr(said, name)) is not None
    }
    text = bytes(changed(review.decision, {**members, "action": said.action}))
    if len(text) > VALUE_BYTES_MAX:
        return Refusal("invalid.oversized", f"with it the decision has {len(text)} bytes; at most {VALUE_BYTES_MAX}")
    proposed = msgspec.structs.replace(
        review, decision=msgspec.Raw(text), action_digest=action_digest(bytes(said.action)), approvals=[]
    )
    made = decision_of(proposed)
    if (why := may_not(roles, policy.document.review.approvers, made)) is not None:
        return Refusal("verdict.role", why)
    kinds, kind = {kind_of_action(decision)}, kind_of_action(made)
    if policy.evaluator is not None:
        kinds |= policy.evaluator.action_types or frozenset()
    if kind not in kinds:
        return Refusal("verdict.boundary", f"the action type {kind!r:.100} may not be proposed here")
    if (found := blocked(made, policy)) is not None:
        return Refusal("verdict.boundary", found.detail)
    if said.observed_at_ms is None:
        if review.fresh_until_ms <= seen.now_ms:
            return Refusal("verdict.boundary", "it is stale: only a modification on a new observation can be acted on")
        return proposed
    budget_ms = policy.freshness.of(made.segment).budget_ms
    expires_ms = NEVER_MS if made.expires_at_ms is None else made.expires_at_ms
    fresh_until_ms = min(said.observed_at_ms + budget_ms, expires_ms, final_ms(review))
    if fresh_until_ms <= seen.now_ms:
        return Refusal("verdict.boundary", f"its observation is {seen.now_ms - said.observed_at_ms} ms old: stale too")
    return msgspec.structs.replace(proposed, fresh_until_ms=fresh_until_ms)


def _malformed(decision: Decision, said: Verdict, tolerance_ms: int, now_ms: int) -> str | None:
    """What in a modification could not stand in a decision."""
    if bytes(said.action) == NO_ACTION:
        return "action: missing; modify proposes one"
    if said.currency is not None and said.value_minor is None:
        return "value_minor: missing; a currency alone says nothing"
    if said.observed_at_ms is not None:
        if said.observed_at_ms <= decision.observed_at_ms:
            return f"observed_at_ms: not later than the observation it replaces, {decision.observed_at_ms}"
        if said.observed_at_ms > now_ms + tolerance_ms:
            return f"observed_at_ms: {said.observed_at_ms - now_ms} ms in the future"
    alone = Decision(
        id="modified",
        workflow=decision.workflow,
        entity=decision.entity,
        action=said.action,
        observed_at_ms=decision.observed_at_ms,
    )
    found = refusal(_plain(alone))
    return None if found is None else found[1]


def by_clock(review: Review, now_ms: int) -> Stays | Ended | None:
    """It expires, or is escalated once; None: neither is due."""
    if now_ms >= review.deadline_ms:
        return Ended(review, Refused(EXPIRED, f"nobody answered before its deadline; on_timeout: {review.on_timeout}"))
    if now_ms >= review.escalate_at_ms and not review.escalated:
        return Stays(msgspec.structs.replace(review, escalated=True))
    return None


def due_ms(review: Review) -> int:
    """When the clock next changes it."""
    return review.deadline_ms if review.escalated else min(review.escalate_at_ms, review.deadline_ms)


def by_policy(review: Review, seen: Seen) -> Again | Ended | None:
    """What the changes of policy since it was opened make of it; None: it stays."""
    found = change(review.policy, review.gated_at_ms, seen.snapshot.currents.get(review.workflow))
    if found is None:
        return None
    told = f"{review.workflow}@{found.version} came into force, by {found.by}: {found.why}"[:1000]
    if found.pending == "reevaluate":
        return ask_again(review, Refused(INVALIDATED, told), seen)
    return Ended(review, Refused(INVALIDATED, told))


def by_later(earlier: Review, later: Later) -> Ended | None:
    """What a later observation of the same entity and action type, that went already, makes of an open review."""
    apart_ms = later.observed_at_ms - decision_of(earlier).observed_at_ms
    if apart_ms <= 0:
        return None
    return Ended(earlier, Refused("superseded", f"a decision that was observed {apart_ms} ms later {later.how}"))
