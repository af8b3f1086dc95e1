"""Questions and evaluators for these tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from schemas.common import Source, Stages
from schemas.decision import Decision
from schemas.reevaluation import Attempt, Reevaluation
from streams.path import Snapshot
from streams.policy import Policy
from streams.reevaluation import Pending, question
from streams.runtime.evaluators import Evaluators, Result
from tests.streams.making import NOW_MS, decision, encoded, policy

FUNCTIONS = "tests.streams.runtime.evaluators.functions"
LONG_S = 30.0  # nothing that is right takes so long


class Counted(Evaluators):
    """Evaluators that remember how their calls ended."""

    def __init__(self, policies: Snapshot) -> None:
        self.calls: Counter[tuple[str, Result]] = Counter()
        super().__init__(policies, lambda workflow, result: self.calls.update([(workflow, result)]))


def workflow_of(timeout: str = "20s", workflow: str = "billing", index: int = 0, **evaluator: Any) -> Policy:
    return policy(workflow=workflow, index=index, evaluator={"timeout": timeout, **evaluator}, on_stale="reevaluate")


def evaluators_of(timeout: str = "20s", **evaluator: Any) -> Counted:
    return Counted(Snapshot([workflow_of(timeout, **evaluator)]))


def pending(number: int = 1, root_id: str | None = None) -> Pending:
    fields = decision(number)
    text = encoded(fields)
    place = Source("t.reevaluations", 0, number)
    request = Reevaluation(
        request_id=f"q-{number}",
        kind="disposition",
        decision_id=fields["id"],
        root_id=root_id or fields["id"],
        workflow="billing",
        entity=fields["entity"],
        reason="stale.age",
        detail="too old",
        attempt=1,
        attempts=[Attempt(1, NOW_MS - 1_000, NOW_MS, "stale.age", "billing@3")],
        first_observed_at_ms=NOW_MS - 1_000,
        final_deadline_ms=NOW_MS + 60_000,
        gated_at_ms=NOW_MS,
        age_ms=1_000,
        budget_ms=500,
        stages_ms=Stages(),
        policy="billing@3",
        value_minor=None,
        currency=None,
        segment=None,
        decision=msgspec.Raw(text),
        caused_by=None,
        source=place,
    )
    before = msgspec.json.decode(text, type=Decision)
    return Pending(place, b"acct-17", (), request, before, workflow_of(url="http://127.0.0.1:9/"))


async def ask(evaluators: Evaluators, number: int = 1, timeout_s: float = LONG_S, root_id: str | None = None) -> bytes:
    asked = pending(number, root_id)
    return await evaluators.ask(asked, question(asked, None, NOW_MS + 5_000), timeout_s)
