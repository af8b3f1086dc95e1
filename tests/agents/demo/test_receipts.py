"""Receipts are counted once, with the money and the age of their commands, in whatever order the two are read."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

from agents.demo.receipts import Receipts, share_permille

GATED_AT_MS = 10_400
COMMAND = {"command_id": "c-1", "value_minor": 700, "gated_at_ms": GATED_AT_MS, "age_ms": 400, "deadline_ms": 12_000}


def receipt(**fields: Any) -> bytes:
    return json.dumps({"command_id": "c-1", "status": "executed", "started_at_ms": 11_000} | fields).encode()


def test_the_order_of_command_and_receipt_and_repetitions_do_not_matter() -> None:
    for order in permutations(["command", "receipt", "receipt"]):
        receipts = Receipts()
        for one in order:
            receipts.add_command(COMMAND) if one == "command" else receipts.add(receipt())
        assert receipts.counts == {"executed": 1}
        assert receipts.money_minor == {"executed": 700}
        assert receipts.shares_permille == [500]  # 1,000 ms of 2,000
        assert receipts.awaited == 0


def test_a_command_is_awaited_until_its_own_receipt_comes() -> None:
    receipts = Receipts()
    receipts.add_command(COMMAND)
    receipts.add(receipt(command_id="c-2"))
    assert receipts.awaited == 1
    assert not receipts.counts


def test_what_was_not_started_has_no_age_at_its_start() -> None:
    receipts = Receipts()
    receipts.add_command(COMMAND)
    receipts.add(receipt(status="expired", started_at_ms=None))
    assert receipts.counts == {"expired": 1}
    assert receipts.shares_permille == []


def test_at_the_budget_is_too_late() -> None:
    assert share_permille(19_999, 20_000) == 999
    assert share_permille(20_000, 20_000) == 1000
    assert share_permille(-5, 20_000) == 0
