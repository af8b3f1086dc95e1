"""Reason codes: a closed list with what each means. The part before the dot is the family.

Codes may be added within a family at any time, never removed or changed in meaning within a major version.
"""

from __future__ import annotations

WITHIN_BOUNDS = "within_bounds"
APPROVED = "approved"

COMMAND_REASONS: dict[str, str] = {
    WITHIN_BOUNDS: "fresh, and inside the limits of the rule that decided",
    APPROVED: "fresh, and approved by as many persons as the policy asks for",
}

REVIEW_REASONS: dict[str, str] = {
    "value_over_limit": "the value is over the rule's limit",
    "confidence_below": "the confidence is below the rule's floor",
    "irreversible": "the rule wants a reversible action and this one is not",
    "rule": "a rule sends these to a person",
    "field_missing": "the policy needs a field that is not there: it escalates, it never guesses",
    "currency_mismatch": "the value is in another currency than the rule's",
    "no_rule_matched": "no rule matched: the default is not autonomous",
    "exposure": "an exposure limit is used up",
    "supervised": "the authority level of this scope is supervised",
    "policy_error": "a rule failed while it was evaluated, or its rules took more work than one record may",
    "stale": "past its deadline, and the policy sends stale decisions to a person",
    "audit_sample": "drawn at random from what ran autonomously",
}

EXCEPTION_REASONS: dict[str, str] = {
    "invalid.empty": "no value: a tombstone, or no bytes",
    "invalid.oversized": "the value is over 256 KiB",
    "invalid.encoding": "not UTF-8, a byte order mark, or an escaped lone surrogate",
    "invalid.json": "not JSON, nested deeper than 64, or a number that is no finite double of at most 300 digits",
    "invalid.schema": "JSON, but not a decision: a field is missing, of another type, repeated or not allowed; "
    "or a key stands twice in the action or the attributes",
    "invalid.key": "the record's key is absent, is not the entity, or belongs to another partition by Java's murmur2",
    "invalid.time": "a time outside 0 ... 253402300799999",
    "invalid.unknown_workflow": "no policy for this workflow",
    "invalid.future": "observed later than now and the tolerance for clock skew",
    "invalid.batch": "a batch of records that cannot be read: damaged, or beyond bounds when decompressed; by range",
    "invalid.poison": "it could not be decided, or its answer could not be sent; by place and hash",
    "lost.removed": "the broker removed these records before they were read; by range",
    "duplicate.repeat": "this id has gone out before with the same content, whatever its times: no second action",
    "duplicate.conflict": "this id, or a command for its root, has gone out before with other content",
    "superseded": "a later observation for the same entity and action type went before",
    "stale.age": "older than the freshness budget",
    "stale.expired": "past the producer's own expiry",
    "stale.context": "the context that it rests on has changed",
    "stale.unactionable": "would expire before it could be acted on",
    "reevaluation.failed": "the evaluator failed",
    "reevaluation.timeout": "the evaluator did not answer in time",
    "reevaluation.exhausted": "no attempt is left",
    "boundary.blocked": "a rule blocks it",
    "boundary.limit": "an exposure limit blocks it",
    "halted": "a halt applies",
    "shed.overload": "shed under overload",
    "shed.capacity": "nobody would reach it before its deadline",
    "shed.breaker": "its source is paused by a breaker",
    "review.rejected": "a person said no",
    "review.expired": "nobody answered before the deadline",
    "review.outdated": "approved too late, and there is no evaluator to ask again",
    "review.invalidated": "a change of policy ended the review",
    "execution.refused": "the executor refused it",
    "execution.failed": "the executor tried and failed",
    "execution.expired": "it reached the executor at or past its deadline",
    "execution.missing": "no receipt came",
    "execution.unknown": "the executor crashed between intent and result",
    "policy.error": "the policy could not be evaluated",
}
