"""What the tests of exposure limits share: policies with limits, and decisions that count."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.policy import PolicyDocument
from streams.exposure_terms import ExposureTerms, compile_exposure
from streams.policy import Policy, compile_policy
from tests.streams.making import SMALL_AND_SURE


def document(*limits: dict[str, Any], rule: dict[str, Any] = SMALL_AND_SURE) -> PolicyDocument:
    return msgspec.convert(
        {
            "workflow": "billing",
            "version": 3,
            "freshness": {"budget": "10m"},
            "boundary": {"rules": [rule], "exposure": list(limits)},
        },
        PolicyDocument,
    )


def _compiled(whole: PolicyDocument) -> Policy:
    made, problems = compile_policy(whole, 0)
    assert made is not None, problems
    return made


def limited(*limits: dict[str, Any]) -> Policy:
    return _compiled(document(*limits))


def open_to_all(*limits: dict[str, Any]) -> Policy:
    """Nothing but the exposure limits holds anything back."""
    return _compiled(document(*limits, rule={"name": "all", "then": "autonomous"}))


def terms(**limit: Any) -> ExposureTerms:
    (one,) = compile_exposure(document({"name": "hourly", "window": "1h", **limit}))
    return one
