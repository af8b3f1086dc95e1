"""What the roles of a person may approve: up to a value, of the decision and of all its steps together."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.policy import Approver
from streams.review_keys import may_not
from tests.streams.making import decision, row

CLERK = [Approver(role="clerk", value_minor_at_most=5_000, currency="USD")]


@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({}, True),
        ({"value_minor": -5_001}, False),
        ({"currency": "EUR"}, False),
        ({"value_minor": ...}, False),
        ({"action": [{"type": "a", "value_minor": 2_500}] * 2}, True),
        ({"action": [{"type": "a", "value_minor": 2_501}] * 2}, False),
        ({"action": [{"type": "a", "value_minor": 1, "currency": "EUR"}]}, False),
    ],
)
def test_a_role_approves_up_to_its_value(fields: dict[str, Any], may: bool) -> None:
    one = row(decision(**fields)).decision
    assert one is not None
    assert (may_not({"clerk"}, CLERK, one) is None) is may


def test_the_sentence_says_what_is_too_much() -> None:
    one = row(decision(action=[{"type": "a", "value_minor": 9_000}])).decision
    assert one is not None
    told = may_not({"clerk"}, CLERK, one)
    assert told == "the roles of this person (clerk) may not approve 1250 USD or what its steps come to"
