"""An evaluator for tests: takes the decision as it is, observed now; what it declines or breaks at is in its id."""

from __future__ import annotations

import time
from typing import Any


def evaluate(question: dict[str, Any]) -> dict[str, Any] | None:
    decision = question["decision"]
    if "declined" in decision["id"]:
        return None
    if "broken" in decision["id"]:
        raise RuntimeError("no rate for this one")
    names = ("action", "confidence", "value_minor", "currency", "reversible")
    return {
        **{name: decision[name] for name in names if name in decision},
        "observed_at_ms": time.time_ns() // 1_000_000,
    }
