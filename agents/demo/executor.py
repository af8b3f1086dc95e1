"""The demo's executor, as a user of the kit writes one: a program of its own that needs nothing but sluicegate_kit.

It stands for a billing system that takes a few milliseconds for a line and is not always well: now and then it
refuses, fails, or hangs. Which line meets what depends on the decision's id alone.
"""

from __future__ import annotations

import hashlib
import sys
import time

from sluicegate_kit import Command, Limits, Refuse, run

TIME_LIMIT_MS = 500
HANG_S = 0.8  # past the limit
LIMITS = Limits(time_limit_ms=TIME_LIMIT_MS, stop_within_ms=2_000)


def post(command: Command) -> str:
    """Posts an invoice line. Raises Refuse for an account that is closed, OSError where the billing system fails."""
    line = command.action
    lot = int.from_bytes(hashlib.sha256(str(command.decision_id).encode()).digest()[:4], "big") % 1000
    if lot < 8:
        raise Refuse(f"{command.entity} is closed for this month")
    time.sleep((2 + lot % 4) / 1000)
    if lot < 13:
        raise OSError("the billing system did not answer")
    if lot < 15:
        time.sleep(HANG_S)
    return f"{line['total_minor'] / 100:.2f} {line['currency']} posted"


if __name__ == "__main__":
    run(post, group="billing", store=sys.argv[1], name="billing-1", limits=LIMITS)
