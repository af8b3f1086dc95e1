"""Reason codes: the closed list of CONTRACT.md, each with a sentence."""

from __future__ import annotations

from schemas.reasons import COMMAND_REASONS, EXCEPTION_REASONS, REVIEW_REASONS

# CONTRACT.md, typed again on purpose: a code is never removed within a major version
FAMILIES = {
    "invalid": "json schema encoding empty key time oversized unknown_workflow future batch poison",
    "lost": "removed",
    "duplicate": "repeat conflict",
    "stale": "age expired context unactionable",
    "reevaluation": "failed timeout exhausted",
    "boundary": "blocked limit",
    "shed": "overload capacity breaker",
    "review": "rejected expired outdated invalidated",
    "execution": "refused failed expired missing unknown",
    "policy": "error",
}
ALONE = {"superseded", "halted"}
REVIEWS = {
    *("value_over_limit", "confidence_below", "irreversible", "rule", "field_missing", "currency_mismatch"),
    *("no_rule_matched", "exposure", "supervised", "policy_error", "stale", "audit_sample"),
}


def test_the_exception_reasons_are_those_of_the_contract() -> None:
    named = {f"{family}.{code}" for family, codes in FAMILIES.items() for code in codes.split()}
    assert set(EXCEPTION_REASONS) == named | ALONE


def test_the_review_and_command_reasons_are_those_of_the_contract() -> None:
    assert set(REVIEW_REASONS) == REVIEWS
    assert set(COMMAND_REASONS) == {"within_bounds", "approved"}


def test_each_reason_is_documented() -> None:
    for reasons in (COMMAND_REASONS, REVIEW_REASONS, EXCEPTION_REASONS):
        for code, meaning in reasons.items():
            assert len(meaning) > 8, code
            assert not meaning.endswith("."), "a clause to put behind the code"
