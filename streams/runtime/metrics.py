"""The meter: adds what happened to the board, once a batch, never once a decision."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from streams.batch import Fetched
from streams.metrics import FAMILIES, STAGES, WORKFLOWS_MAX, Histogram, label_of, reason_label
from streams.path import Snapshot
from streams.runtime.metrics_board import Board
from streams.runtime.stage import Batch


class Meter:
    """What one process counts. `workflows` are the only ones that become labels."""

    def __init__(self, board: Board, workflows: Sequence[str] = ()) -> None:
        self.board = board
        for result in ("committed", "late", "failed", "fenced", "denied"):
            board.numbers("transactions", (result,))  # a counter that begins with its first event hides it from rates
        for name in ("hand_overs", "evicted_ids"):
            board.numbers(name)
        self._workflows = frozenset(workflows[:WORKFLOWS_MAX])

    def committed(
        self, fetched: Sequence[Fetched], batch: Batch, decide_s: float, transaction_s: float, now_s: float
    ) -> None:
        """Adds a batch that was committed at `now_s`, epoch seconds."""
        size = 0
        for one in fetched:
            size += len(one)
            self._count("decisions", (one.input,), len(one))
        self._count("transactions", ("committed",))
        self._sample("batch_records", size)
        self._sample("decide_seconds", decide_s)
        self._sample("transaction_seconds", transaction_s)
        partition = str(fetched[0].partition)
        self.gauge("last_commit_timestamp_seconds", now_s, partition)
        if batch.fill is not None:
            self.gauge("window_ids", batch.fill.ids, partition)
            self.gauge("window_ids_max", batch.fill.ids_max)
            self._count("evicted_ids", (), batch.fill.evicted)
        if (observed := batch.observed) is not None:
            for (workflow, output, reason), count in observed.counts.items():
                labels = (label_of(workflow, self._workflows), output, reason_label(reason))
                self._count("dispositions", labels, count)
            self._merge("stage_seconds", STAGES, observed.stages)
            workflows = [label_of(workflow, self._workflows) for workflow in observed.workflows]
            self._merge("decision_age_seconds", workflows, observed.ages)
            self._merge("age_budget_ratio", workflows, observed.ratios)

    def ended(self, how: str) -> None:
        """Counts a transaction that was not committed, or not known to be: late, fenced, failed or denied."""
        self._count("transactions", (how,))

    def handed_over(self) -> None:
        """Counts a partition number that was taken over."""
        self._count("hand_overs", ())

    def gauge(self, name: str, value: float | None, *labels: str) -> None:
        """Sets a gauge; None means that there is no such thing any more."""
        self.board.numbers(name, labels)[0] = np.nan if value is None else value

    def budgets(self, policies: Snapshot) -> None:
        """Shows the freshness budgets in force, in seconds."""
        for policy in policies.by_index[:WORKFLOWS_MAX]:
            self.gauge("policy_budget_seconds", policy.freshness.own.budget_ms / 1000, policy.workflow)

    def _count(self, name: str, labels: tuple[str, ...], count: float = 1) -> None:
        self.board.numbers(name, labels)[0] += count

    def _sample(self, name: str, value: float) -> None:
        numbers, edges = self.board.numbers(name), FAMILIES[name].edges
        numbers[bisect_left(edges, value)] += 1
        numbers[-1] += value

    def _merge(self, name: str, labels: Sequence[str], found: Histogram) -> None:
        for label, counts, total in zip(labels, found.counts, found.sums.tolist(), strict=True):
            numbers = self.board.numbers(name, (label,))
            numbers[:-1] += counts
            numbers[-1] += total
