"""What rules cost: us a decision on the pure path with 5, 100 and 2,000 of them: `python -m tests.bench.rules`.

Three kinds of policy. `segments`: each rule is for a segment of its own, with a limit on the value, and each decision
is in one of them. `missing`: the same rules, but no decision says its segment, and a model besides does not match.
`bands`: each rule is for a band of values, which nothing can be looked up by; the last ones are never reached. Batches
of 500 decisions, the best of 5 rounds in CPU time, all in one process; the ratio is to 5 rules of the same kind.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from streams.path import Snapshot
from streams.policy import Policy
from tests.bench.path import ROUNDS, batches, one_round
from tests.streams.making import NOW_MS, policy

COUNTS = (5, 100, 2_000)
BATCH = 500


def in_segment(number: int, of: int) -> dict[str, Any]:
    limits = {"value_minor_at_most": 5_000, "currency": "USD", "reversible": True}
    when = {"segment": {"equals": f"s-{number}"}, "model": {"not_in": ["old"]}}
    return {"name": f"r{number}", "then": "autonomous", "when": when, "limits": limits}


def in_band(number: int, of: int) -> dict[str, Any]:
    width = 6_000 // of + 1
    band = {"at_least": number * width, "under": (number + 1) * width, "currency": "USD"}
    return {
        "name": f"r{number}",
        "then": "escalate" if number % 5 == 4 else "autonomous",
        "when": {"value_minor": band},
    }


Make = Callable[[int, int], dict[str, Any]]
KINDS: dict[str, tuple[Make, dict[str, Any]]] = {
    "segments": (in_segment, {}),
    "missing": (in_segment, {"segment": None, "model": "old"}),
    "bands": (in_band, {}),
}


def encoded(number: int, rules: int, fields: dict[str, Any]) -> bytes:
    return json.dumps(decision(number, rules) | fields).encode()


def decision(number: int, rules: int) -> dict[str, Any]:
    return {
        "id": f"d-{number:012}",
        "workflow": "billing",
        "entity": f"acct-{number % 997}",
        "action": {"type": "invoice.post", "invoice": f"i-{number}", "total": 12.5},
        "observed_at_ms": NOW_MS - 1_000,
        "confidence": 0.93,
        "value_minor": number * 7 % 6_000,
        "currency": "USD",
        "model": "rater",
        "reversible": True,
        "segment": f"s-{number % rules}",
    }


def policy_of(make: Make, count: int) -> Policy:
    return policy([make(number, count) for number in range(count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=40_000, help="how many decisions a round has (default: 40000)")
    n = parser.parse_args().n
    print(f"{n} decisions, batches of {BATCH}, best of {ROUNDS}; us a decision, ratio to {COUNTS[0]} rules")
    print(f"{'rules':<12}" + "".join(f"{count:>20,}" for count in COUNTS))
    for kind, (make, fields) in KINDS.items():
        cost_us = []
        for count in COUNTS:
            value = partial(encoded, rules=count, fields=fields)
            made, snapshot = batches(n, value, BATCH), Snapshot([policy_of(make, count)])
            gc.collect()
            spent_s, _ = min((one_round(made, snapshot) for _ in range(ROUNDS)), key=lambda found: found[0])
            cost_us.append(spent_s / n * 1e6)
        print(f"{kind:<12}" + "".join(f"{cost:>13.1f} {f'({cost / cost_us[0]:.2f})':>6}" for cost in cost_us))


if __name__ == "__main__":
    main()
