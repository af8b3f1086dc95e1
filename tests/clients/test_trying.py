"""What the fixture `sluicegate_act` gives: an executor's function tried on a command, by the executor's own rules."""

from __future__ import annotations

from typing import Any

import pytest
from sluicegate_kit import Command, KitError, Refuse
from sluicegate_kit.trying import NOW_MS, act_on

PAYOUT: dict[str, Any] = {"workflow": "payout", "action": {"type": "pay", "amount": "12.50"}, "segment": "retail"}


def pay(command: Command) -> str:
    if command.action["amount"] == "0":
        raise Refuse("nothing to pay")
    return f"paid {command.action['amount']}"


def never(command: Command) -> None:
    pytest.fail(f"acted on {command.command_id}")


def test_what_it_returns_and_raises_is_the_receipt() -> None:
    done = act_on(pay, PAYOUT)
    assert (done.status, done.detail, done.started_at_ms, done.entity) == ("executed", "paid 12.50", NOW_MS, "e-1")
    refused = act_on(pay, {**PAYOUT, "action": {"type": "pay", "amount": "0"}})
    assert (refused.status, refused.detail) == ("refused", "nothing to pay")
    assert act_on(pay, {**PAYOUT, "deadline_ms": NOW_MS}).status == "expired"
    assert act_on(never, PAYOUT, may_act=lambda _: "not today").detail == "not today"


@pytest.mark.parametrize(
    ("halt", "stops"),
    [
        ({}, True),
        ({"workflow": "payout"}, True),
        ({"workflow": "refund"}, False),
        ({"segment": "retail", "action_type": "pay"}, True),
        ({"segment": "retail", "action_type": "book"}, False),
    ],
)
def test_a_halt_stops_what_it_is_about(halt: dict[str, str], stops: bool) -> None:
    receipt = act_on(never if stops else pay, PAYOUT, halts=[halt])
    assert receipt.status == ("refused" if stops else "executed")
    assert (receipt.detail or "").endswith("is halted by a test: it is tried") is stops


async def test_a_recall_stops_it_also_from_within_a_running_loop() -> None:
    receipt = act_on(never, {**PAYOUT, "command_id": "c-%7"}, recalled="wrong account")
    assert (receipt.status, receipt.detail) == ("refused", "recalled by a test: wrong account")


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(KitError, match=r"this is no command: .*workflow"):
        act_on(pay, {"action": {}})
    with pytest.raises(
        KitError, match=r"a halt is about workflow, segment, model, action_type, got {'model_type': 'x'}"
    ):
        act_on(pay, PAYOUT, halts=[{"model_type": "x"}])
