"""How long the pure path takes an event, in all and by stage, on one core: `python -m tests.bench.path [--n 200000]`.

Batches of 2,000 valid decisions of about 360 bytes, most of which become commands. Each figure is the best of 5 runs:
the least disturbed one, in CPU time. A stage is timed within the whole path, so caches are as they are in earnest.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable
from typing import Any

from streams import path
from streams.batch import Fetched
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy
from streams.window import Window
from tests.streams.making import NOW_MS, SMALL_AND_SURE, policy

BATCH = 2_000
ROUNDS = 5
# name in the table -> the functions of `streams.path` that are that stage
STAGES: dict[str, tuple[str, ...]] = {
    "ingest": ("ingest",),
    "window": ("_let_go",),
    "latency": ("measure",),
    "freshness": ("deadlines", "judge"),
    "boundary": ("bound",),
    "publish": ("_published",),
}


def decision(number: int) -> bytes:
    return json.dumps(
        {
            "id": f"d-{number:012}",
            "workflow": "billing",
            "entity": f"acct-{number % 997}",
            "action": {"type": "invoice.post", "invoice": f"i-{number}", "total": 12.5},
            "observed_at_ms": NOW_MS - 1_000 - number % 500,
            "decided_at_ms": NOW_MS - 300,
            "sent_at_ms": NOW_MS - 40,
            "confidence": 0.9 + number % 10 / 100,
            "value_minor": number % 6_000,
            "currency": "USD",
            "model": "rater@2026-11-01",
            "reversible": True,
            "segment": "fleet",
            "attributes": {"vendor": str(number % 3)},
        },
        separators=(",", ":"),
    ).encode()


def batches(n: int, value: Callable[[int], bytes] = decision, size: int = BATCH) -> list[Fetched]:
    """`n` decisions as they are fetched, `size` at once; `value` makes each of its number."""
    made = []
    for first in range(0, n, size):
        numbers = range(first, min(first + size, n))
        made.append(
            Fetched(
                topic="bench.decisions",
                input="decisions",
                partition=0,
                offsets=list(numbers),
                timestamps_ms=[NOW_MS - 10] * len(numbers),
                keys=[b"acct-%d" % (number % 997) for number in numbers],
                values=[value(number) for number in numbers],
                broker_time=True,
                read_ms=NOW_MS - 3,
            )
        )
    return made


def rules() -> Policy:
    disputed = {"name": "disputed", "then": "block", "when": {"attributes.vendor": {"in": ["9"]}}}
    large = {"name": "large", "then": "escalate", "when": {"value_minor": {"over": 5_900, "currency": "USD"}}}
    return policy([disputed, large, SMALL_AND_SURE])


class Timed:
    """Adds up the time that the wrapped functions take."""

    def __init__(self) -> None:
        self.spent_s = dict.fromkeys(STAGES, 0.0)

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.process_time()
            result = function(*arguments)
            self.spent_s[stage] += time.process_time() - start
            return result

        return timed


def one_round(made: list[Fetched], snapshot: Snapshot) -> tuple[float, dict[str, int]]:
    memory, kinds = Memory(Window(ids_max=10**9)), dict[str, int]()
    spent_s = 0.0
    for batch in made:
        start = time.process_time()
        found = decide([batch], NOW_MS, snapshot, memory)
        memory.commit(found.remembered, NOW_MS)
        spent_s += time.process_time() - start
        for sent in found.records:
            kinds[sent.output] = kinds.get(sent.output, 0) + 1
    return spent_s, kinds


def by_stage(made: list[Fetched], snapshot: Snapshot) -> dict[str, float]:
    timed, memory = Timed(), Memory(Window(ids_max=10**9))
    window = memory.window
    originals = {name: getattr(path, name) for names in STAGES.values() for name in names}
    remember, commit = timed.wrap("window", window.recognise), timed.wrap("window", memory.commit)
    try:
        for stage, names in STAGES.items():
            for name in names:
                setattr(path, name, timed.wrap(stage, originals[name]))
        window.recognise = remember  # type: ignore[method-assign]  # a stopwatch around the window's own
        for batch in made:
            commit(decide([batch], NOW_MS, snapshot, memory).remembered, NOW_MS)
    finally:
        for name, original in originals.items():
            setattr(path, name, original)
    return timed.spent_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=200_000, help="how many decisions a round has (default: 200000)")
    n = parser.parse_args().n
    made, snapshot = batches(n), Snapshot([rules()])
    size = sum(len(value or b"") for batch in made for value in batch.values) / n
    gc.collect()
    gc.freeze()  # as the worker does
    whole_s, kinds = min((one_round(made, snapshot) for _ in range(ROUNDS)), key=lambda found: found[0])
    rounds = [by_stage(made, snapshot) for _ in range(ROUNDS)]
    best_s = {stage: min(spent_s[stage] for spent_s in rounds) for stage in STAGES}
    shares = ", ".join(f"{count / n:.1%} {kind}" for kind, count in sorted(kinds.items()))
    print(f"{n} decisions of {size:.0f} bytes, batches of {BATCH}, best of {ROUNDS}: {shares}")
    print(f"{'stage':<12}{'us an event':>12}")
    for stage, spent_s in best_s.items():
        print(f"{stage:<12}{spent_s / n * 1e6:>12.2f}")
    print(f"{'in all':<12}{whole_s / n * 1e6:>12.2f}   {n / whole_s:,.0f} events a second on one core")


if __name__ == "__main__":
    main()
