"""The pack's evaluator: prices a trip's line again, by the rate card that is in force.

It runs in a process of its own, under any Python: the standard library is all it needs. `evaluate` is what a policy
names (`function: agents.workflows.billing.rater:evaluate`).

A rate card is an account's context: `{"rate_card": "2019-02-02", "congestion_minor": 250}`. The congestion surcharge
is due on trips that begin or end in Manhattan south of 96th Street (New York Tax Law, article 29-C), which the trip
records name by taxi zone.
"""

from __future__ import annotations

import time
from typing import Any

_ZONES = (
    "4 12 13 24 43 45 48 50 68 79 87 88 90 100 103 104 105 107 113 114 125 137 140 141 142 143 144 148 151 158 161 162 "
    "163 164 170 186 209 211 224 229 230 231 232 233 234 236 237 238 239 246 249 261 262 263"
)  # taxi zones of the TLC in Manhattan south of 96th Street
CONGESTION_ZONES = frozenset(_ZONES.split())


def due_minor(pickup_zone: str, dropoff_zone: str, card: dict[str, Any]) -> int:
    """The surcharge of a trip between two zones by this card, in cents."""
    return int(card["congestion_minor"]) if CONGESTION_ZONES & {pickup_zone, dropoff_zone} else 0


def priced(line: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    """The invoice line with the surcharge that the card asks for, and its total."""
    congestion_minor = due_minor(line["pickup_zone"], line["dropoff_zone"], card)
    before_minor = line["total_minor"] - line["lines_minor"]["congestion"]
    if before_minor < 0:  # a line that takes a fare back takes its surcharge back too
        congestion_minor = -congestion_minor
    return {
        **line,
        "rate_card": card["rate_card"],
        "lines_minor": {**line["lines_minor"], "congestion": congestion_minor},
        "total_minor": before_minor + congestion_minor,
    }


def evaluate(question: dict[str, Any]) -> dict[str, Any] | None:
    """The decision in `question` made again on the account's present rate card; None where it has none."""
    if question["context"] is None:
        return None
    decision, card = question["decision"], question["context"]["state"]
    line = priced(decision["action"], card)
    return {
        "action": line,
        "observed_at_ms": time.time_ns() // 1_000_000,
        "confidence": decision["confidence"],
        "value_minor": line["total_minor"],
        "currency": decision["currency"],
        "model": f"rater@{card['rate_card']}",
        "context_version": question["context"]["version"],
        "reversible": decision["reversible"],
        "attributes": decision["attributes"],
    }
