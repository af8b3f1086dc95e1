"""Freshness: acting on a world that has moved on is refused. At the deadline means too late.

deadline       = min(observed + budget, the producer's own expiry)               ends this attempt
final deadline = min(first observation + total, the producer's own expiry)       ends all attempts

A decision is stale when one of them has passed, when it would pass before an executor could act (the allowance), or
when the context that it rests on has changed. What becomes of it then is the policy's choice: an ending, the
evaluator's next question, or a person's; but nothing is asked about what cannot be saved any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from schemas.decision import Decision, Successor
from streams.batch import Refused, Row
from streams.context import NO_CONTEXT, Contexts
from streams.policy import Policy

NEVER_MS = 2**62
TRANSACTION = "transaction"  # for whom time was kept back, where it was not the executor
STALE = ("stale",)  # the reasons of a review that is about a stale decision


def deadlines(rows: Sequence[Row], policies: Sequence[Policy]) -> None:
    """Fills in `budget_ms`, `deadline_ms` and `final_deadline_ms` of each row."""
    if not rows:
        return
    decisions = [row.decision for row in rows if row.decision is not None]
    policy = np.array([row.policy for row in rows])
    observed = np.array([decision.observed_at_ms for decision in decisions])
    expires = np.array([NEVER_MS if (at := one.expires_at_ms) is None else at for one in decisions])
    final = observed + np.array([one.freshness.total_ms for one in policies])[policy]
    budgets = np.array([one.freshness.own.budget_ms for one in policies])[policy]
    for index, decision in enumerate(decisions):
        if type(decision) is Successor:
            final[index] = decision.final_deadline_ms
    if any(one.freshness.segments for one in policies):
        own = [policies[row.policy].freshness.of(one.segment) for row, one in zip(rows, decisions, strict=True)]
        budgets = np.array([terms.budget_ms for terms in own])
    deadline_ms = np.minimum(observed + budgets, expires)
    columns = zip(rows, budgets.tolist(), deadline_ms.tolist(), np.minimum(final, expires).tolist(), strict=True)
    for row, budget_ms, own_ms, final_ms in columns:
        row.budget_ms, row.deadline_ms, row.final_deadline_ms = budget_ms, own_ms, final_ms


def judge(
    rows: Sequence[Row],
    policies: Sequence[Policy],
    now_ms: int,
    contexts: Contexts = NO_CONTEXT,
    allowances_ms: Mapping[int, int] | None = None,
    commit_ms: int = 0,
) -> None:
    """Ends, asks again or sends to a person each row that is stale at `now_ms`.

    `allowances_ms`, by policy index, is what is kept back for the executor now; without it the policy's first value.
    `commit_ms`: what the transaction takes, from when on others can see it; the larger of the two is kept back.
    """
    if not rows:
        return
    policy = np.array([row.policy for row in rows])
    ends = np.array([row.ends_ms for row in rows], dtype=np.int64)
    allowed = _kept_back(policies, allowances_ms or {})[policy]
    kept_back = np.maximum(allowed, commit_ms)
    late = ends - kept_back <= now_ms
    for index in np.flatnonzero(late).tolist():
        row = rows[index]
        kept_back_ms = int(kept_back[index])
        whose = "executor" if allowed[index] >= commit_ms else TRANSACTION
        _settle(row, policies[row.policy], _why(row, now_ms, kept_back_ms, whose), now_ms + kept_back_ms)
    if any(one.freshness.context is not None for one in policies):
        for row in rows:
            if policies[row.policy].freshness.context is not None:
                _rests_on_the_present(row, policies[row.policy], contexts, now_ms)


def _kept_back(policies: Sequence[Policy], measured_ms: Mapping[int, int]) -> npt.NDArray[np.int64]:
    return np.array([measured_ms.get(one.index, one.freshness.reserve.initial_ms) for one in policies], dtype=np.int64)


def _rests_on_the_present(row: Row, policy: Policy, contexts: Contexts, now_ms: int) -> None:
    """Looks at the context of a row; one that is late already only has it noted what was seen."""
    decision, fields = row.decision, policy.freshness.context
    assert decision is not None and fields is not None
    present = contexts.version(decision.entity)
    row.context_seen = present
    if row.settled:
        return
    if decision.context_version is None:
        row.review_reasons = ["field_missing"]  # it does not say what it rests on, and nothing is guessed
    elif (moved := context_moved(decision, fields, contexts)) is not None:
        _settle(row, policy, moved, now_ms)


def context_moved(decision: Decision, fields: frozenset[str], contexts: Contexts) -> Refused | None:
    """Why the context that the decision names is not the present one any more, in one of `fields` (empty: in any).

    None where it is, and where the decision names none.
    """
    rests_on, present = decision.context_version, contexts.version(decision.entity)
    if rests_on is None:
        return None
    if present is None:
        return Refused("stale.context", "there is no context of this entity")
    if rests_on < present and contexts.changed(decision.entity, rests_on, fields):
        what = f"one of {', '.join(sorted(fields))}" if fields else "it"
        told = f"it rests on version {rests_on} of its context; in version {present} {what} has changed"
        return Refused("stale.context", told)
    return None


def _settle(row: Row, policy: Policy, refused: Refused, earliest_ms: int) -> None:
    """What becomes of a stale row. `earliest_ms`: when a new answer could be acted on, at the earliest."""
    decision = row.decision
    assert decision is not None
    on_stale = policy.freshness.of(decision.segment).on_stale
    row.stage = "freshness"
    if on_stale == "drop" or row.final_deadline_ms <= earliest_ms:
        row.refused = refused
    elif on_stale == "escalate":
        row.review_reasons = [*STALE]
    elif row.attempt >= policy.freshness.max_attempts:
        told = f"attempt {row.attempt} of {policy.freshness.max_attempts} is stale too: {refused.detail}"
        row.refused = Refused("reevaluation.exhausted", told)
    else:
        row.again = refused


def _why(row: Row, now_ms: int, kept_back_ms: int, whose: str) -> Refused:
    decision = row.decision
    assert decision is not None
    if decision.observed_at_ms + row.budget_ms <= now_ms:
        return Refused("stale.age", f"observed {row.age_ms} ms ago; the budget is {row.budget_ms} ms")
    if decision.expires_at_ms is not None and decision.expires_at_ms <= now_ms:
        return Refused("stale.expired", f"the producer let it expire {now_ms - decision.expires_at_ms} ms ago")
    if row.ends_ms > now_ms:
        return Refused(
            "stale.unactionable",
            f"{row.ends_ms - now_ms} ms are left, and {kept_back_ms} ms are kept back for the {whose}",
        )
    return Refused(
        "stale.age", f"its final deadline, over all attempts, passed {now_ms - row.final_deadline_ms} ms ago"
    )
