"""What a shed record costs beside a decision in full: `python -m tests.bench.shedding [--n 60000]`.

The batches of `tests.bench.path`, decided in full; and the same while the queue is too old, so that nearly all are
shed. CPU time on one core; of each batch the least of 9 runs, taken by turns: others use the machine too.
"""

from __future__ import annotations

import argparse
import gc
import time
from dataclasses import replace

from streams.admission import Flow, Learnt
from streams.batch import Fetched
from streams.memory import Memory
from streams.path import Snapshot, decide
from streams.policy import Policy
from streams.runtime.settings import GC_THRESHOLDS
from streams.shed_text import SHED
from streams.shedding import Admission
from streams.window import Window
from tests.bench.path import batches
from tests.streams.making import NOW_MS, SMALL_AND_SURE, policy

ROUNDS = 9
QUEUE_MS = 900_000  # so old that the law asks for all of them; by their own times they could still make it


def rules() -> Policy:
    # the decisions of `tests.bench.path` are young; the tolerance lets the broker have had them before that
    return policy([SMALL_AND_SURE], overload={"start": 0.25}, skew_tolerance="30m")


def waited(made: list[Fetched]) -> list[Fetched]:
    """The same batches, as if they had waited."""
    return [replace(batch, timestamps_ms=[NOW_MS - QUEUE_MS] * len(batch)) for batch in made]


def one_round(made: list[Fetched], snapshot: Snapshot, arrivals_per_s: float) -> tuple[list[float], int]:
    """CPU seconds of each batch, and how many were shed."""
    admission = Admission(1.0)
    memory = Memory(Window(ids_max=10**9), admission=admission)
    spent_s, shed = list[float](), 0
    for batch in made:
        admission.learnt = Learnt(Flow(1.0, True, arrivals_per_s, NOW_MS), admission.learnt.recent)
        start_s = time.process_time()
        found = decide([batch], NOW_MS, snapshot, memory)
        memory.commit(found.remembered, NOW_MS)
        spent_s.append(time.process_time() - start_s)
        shed += sum(count for (_, _, reason), count in found.counts.items() if reason == SHED)
    return spent_s, shed


def ratio(n: int, rounds: int = ROUNDS) -> tuple[float, float, float]:
    """Microseconds of a decision in full and of a shed record, and the share that was shed."""
    made, snapshot = batches(n), Snapshot([rules()])
    old = waited(made)
    gc.collect()
    gc.freeze()  # as the worker does, and with its thresholds
    gc.set_threshold(*GC_THRESHOLDS)
    full_s, shed_s, shed = [float("inf")] * len(made), [float("inf")] * len(made), 0
    for _ in range(rounds):
        full_s = list(map(min, full_s, one_round(made, snapshot, 1.0)[0]))
        spent_s, shed = one_round(old, snapshot, 1e6)
        shed_s = list(map(min, shed_s, spent_s))
    return sum(full_s) / n * 1e6, sum(shed_s) / n * 1e6, shed / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=60_000, help="how many decisions a round has (default: 60000)")
    n = parser.parse_args().n
    full_us, shed_us, share = ratio(n)
    print(f"{n} decisions, {share:.1%} of them shed: in full {full_us:.2f} us, shed {shed_us:.2f} us each")
    print(f"ratio {shed_us / full_us:.2f}")


if __name__ == "__main__":
    main()
