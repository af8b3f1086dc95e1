"""Every metric in one table: its name, meaning, labels and edges.

Two rules bound the number of series whatever the input says. A workflow is a label only if it has a policy; all else
is `unknown`. A reason is a label only if it stands in `schemas.reasons`. Models, entities and ids are never labels.

Histograms have fixed edges, so that counts of different workers, lives and days can be added. The one edge that moves
with the policies, the budget, is where the ratio of age to budget is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "max", "min"]
# from what the gate itself takes to what a forgotten queue does; minutes are as close as the budgets that are minutes
LATENCY_EDGES_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    120,
    180,
    300,
    600,
    900,
    1200,
    3600,
    86400,
)
RATIO_EDGES = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 100.0)
WORK_EDGES_S = (0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20)
SIZE_EDGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `merge` says what several processes that have the same series make together."""

    name: str  # without `sluicegate_` and without `_total`
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    merge: Merge = "sum"

    @property
    def width(self) -> int:
        """How many numbers a series of it is: a histogram has one more bin than edges, and its sum."""
        return len(self.edges) + 2 if self.kind == "histogram" else 1

    def together(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same series of two processes as one."""
        if self.merge == "sum":
            return one + other
        return np.maximum(one, other) if self.merge == "max" else np.minimum(one, other)


_ALL = (
    Family("decisions", "counter", "Records read from an input and answered, committed.", ("input",)),
    Family(
        "dispositions", "counter", "Answers committed, by output and first reason.", ("workflow", "output", "reason")
    ),
    Family(
        "stage_seconds",
        "histogram",
        "Where the age of a decision went. A stage whose end is not known is counted to the next one.",
        ("stage",),
        LATENCY_EDGES_S,
    ),
    Family(
        "decision_age_seconds",
        "histogram",
        "Age of the information when decided: gated_at_ms - observed_at_ms. Without repeats and unreadable input.",
        ("workflow",),
        LATENCY_EDGES_S,
    ),
    Family(
        "age_budget_ratio",
        "histogram",
        "The same age divided by the policy's freshness budget: at 1 it was too late.",
        ("workflow",),
        RATIO_EDGES,
    ),
    Family(
        "clock_adjusted",
        "counter",
        "Decisions with a time that had to be bounded since it was out of order, by that time: some clock is wrong.",
        ("time",),
    ),
    Family(
        "broker_clock_offset_seconds",
        "gauge",
        "The least time between the broker's time of a record and our reading of it, in the last batch: the way and "
        "the wait, plus our clock minus the broker's. Negative: our clock is behind.",
        ("partition",),
        merge="min",
    ),
    Family(
        "evaluator_calls",
        "counter",
        "Questions to evaluators by how they ended: answered, failed, timeout, breaker_open (not asked).",
        ("workflow", "result"),
    ),
    Family("context_entities", "gauge", "Entities whose present context is known.", ("partition",), merge="max"),
    Family("context_refused", "counter", "Records of the topic context that were refused, by reason.", ("reason",)),
    Family(
        "context_not_kept",
        "counter",
        "Records of the topic context for which there was no room: decisions about their entities are stale.context.",
    ),
    Family(
        "actuation_allowance_seconds",
        "gauge",
        "What is kept back for executors where receipts measure it; of this worker's partitions the longest.",
        ("workflow",),
        merge="max",
    ),
    Family(
        "measured_receipts",
        "counter",
        "Receipts read for the allowance: counted, skewed (started before the issue by the executor's clock: as 0), "
        "not_measured, repeated, unreadable, out_of_order.",
        ("result",),
    ),
    Family(
        "shadow",
        "counter",
        "Decisions on which a shadow rule would have said something (autonomous, escalate, block, or an error of its "
        "expression), by what the boundary did.",
        ("workflow", "rule", "said", "done"),
    ),
    Family("audit_samples", "counter", "Commands shown to a person afterwards.", ("workflow",)),
    Family("batch_records", "histogram", "Input records of one committed transaction.", (), SIZE_EDGES),
    Family("decide_seconds", "histogram", "Time of the pure path for one committed batch.", (), WORK_EDGES_S),
    Family("transaction_seconds", "histogram", "Begin to commit of one committed transaction.", (), WORK_EDGES_S),
    Family(
        "transactions",
        "counter",
        "Transactions by their end: committed; late (a deadline passed: decided again); failed, fenced, denied (the "
        "partition is handed over again).",
        ("result",),
    ),
    Family("hand_overs", "counter", "Partition numbers taken over, or over again after a failed transaction."),
    Family(
        "lost_records", "counter", "Offsets that the broker removed from an input before they were read.", ("input",)
    ),
    Family(
        "poison_records",
        "counter",
        "Records, or whole batches of them, that were refused by place: they could not be read (batch) or decided "
        "(decide), or their answer could not be sent (send).",
        ("input", "cause"),
    ),
    Family(
        "clocks_apart",
        "gauge",
        "1 while this process's clock and the broker's differ by more than is tolerated, else 0: nothing is decided.",
        merge="max",
    ),
    Family("evicted_ids", "counter", "Living ids forgotten because the window was full: repeats of them are not seen."),
    Family("window_ids", "gauge", "Ids remembered against repeats.", ("partition",), merge="max"),
    Family("window_ids_max", "gauge", "How many of them a partition may remember.", merge="max"),
    Family(
        "lag_seconds",
        "gauge",
        "How long the oldest record that is not decided yet has waited since it reached the broker; 0 when the worker "
        "holds none. While a partition is not open, the broker does not answer or the child is silent: since when at "
        "the latest.",
        ("partition",),
        merge="max",
    ),
    Family(
        "lag_offsets",
        "gauge",
        "Offsets between what a partition will read next and its last stable offset, asked every 5 s. At least the "
        "number of records: markers of transactions take offsets too.",
        ("input", "partition"),
        merge="max",
    ),
    Family(
        "last_commit_timestamp_seconds",
        "gauge",
        "When the last transaction was committed.",
        ("partition",),
        merge="max",
    ),
    Family(
        "exposure_taken",
        "counter",
        "What ran without a person and counts against an exposure limit, in its unit, committed.",
        ("workflow", "limit"),
    ),
    Family(
        "exposure_over",
        "counter",
        "Decisions that did not run because an exposure limit was used up, or not leased yet.",
        ("workflow", "limit"),
    ),
    Family(
        "exposure_leased",
        "counter",
        "What the allocator has leased to partitions of an exposure limit, in its unit.",
        ("workflow", "limit"),
    ),
    Family(
        "exposure_limit", "gauge", "What a limit allows an account, in its unit.", ("workflow", "limit"), merge="max"
    ),
    Family("partitions", "gauge", "Partition numbers that this worker owns."),
    Family(
        "policy_budget_seconds",
        "gauge",
        "The freshness budget in force; where segments have budgets of their own, the shortest of them all.",
        ("workflow",),
        merge="max",
    ),
)
FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}

# what the supervisor adds about its children
_OF_ROLES = (
    Family("ready", "gauge", "1 if /readyz is content with this role, else 0.", ("role",), merge="min"),
    Family(
        "report_age_seconds",
        "gauge",
        "How old the child's values are; they stand while a child hangs.",
        ("role",),
        merge="max",
    ),
    Family("child_restarts", "counter", "How often the child was started again.", ("role",)),
    Family(
        "backing_off",
        "gauge",
        "1 from a failure of the child until it is ready again, else 0.",
        ("role",),
        merge="max",
    ),
)
ROLE_FAMILIES: Mapping[str, Family] = {family.name: family for family in _OF_ROLES}
BUILD_INFO = Family("build_info", "gauge", "The version that runs.", ("version", "python"))
START_TIME = Family("start_time_seconds", "gauge", "When this worker was started: its counters were 0 then.")
