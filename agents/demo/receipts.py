"""What the executor made of the commands: its receipts, each held against its command.

A receipt may be read before its command, for they are in two topics; and it may come again, always the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from streams.foreign import own_json

STATUSES = ("executed", "refused", "failed", "expired", "unknown")

Body = dict[str, Any]


@dataclass(slots=True)
class Receipts:
    """`counts` and `money_minor` are by status, `shares_permille` is the age at the start of each action by budget."""

    counts: Counter[str] = field(default_factory=Counter)
    money_minor: Counter[str] = field(default_factory=Counter)
    shares_permille: list[int] = field(default_factory=list)
    _commands: dict[str, Body] = field(default_factory=dict)  # without a receipt yet
    _early: dict[str, Body] = field(default_factory=dict)  # receipts without a command yet, and repeated ones

    @property
    def awaited(self) -> int:
        """Commands without a receipt."""
        return len(self._commands)

    def add_command(self, body: Body) -> None:
        """A command as it is in its topic."""
        name = body["command_id"]
        receipt = self._early.pop(name, None)
        if receipt is None:
            self._commands[name] = body
        else:
            self._join(body, receipt)

    def add(self, value: bytes) -> None:
        """A receipt as it is in its topic."""
        receipt = own_json(value)
        name = receipt["command_id"]
        command = self._commands.pop(name, None)
        if command is None:
            self._early[name] = receipt
        else:
            self._join(command, receipt)

    def _join(self, command: Body, receipt: Body) -> None:
        self.counts[receipt["status"]] += 1
        self.money_minor[receipt["status"]] += command.get("value_minor") or 0
        if (started_at_ms := receipt.get("started_at_ms")) is not None:
            observed_at_ms = command["gated_at_ms"] - command["age_ms"]
            budget_ms = command["deadline_ms"] - observed_at_ms
            self.shares_permille.append(share_permille(started_at_ms - observed_at_ms, budget_ms))


def share_permille(age_ms: int, budget_ms: int) -> int:
    """The age as a share of the budget, rounded down; 1000 and more is too late."""
    return max(0, age_ms) * 1000 // max(1, budget_ms)
