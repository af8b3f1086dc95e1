"""The meter: adds what happened to the board, once a batch, never once a decision."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from schemas.reasons import EXCEPTION_REASONS
from streams.batch import Fetched, Input
from streams.latency import ALL_TIMES
from streams.metric_table import FAMILIES
from streams.metrics import STAGES, UNKNOWN, WORKFLOWS_MAX, Histogram, label_of, reason_label
from streams.path import Snapshot
from streams.runtime.metrics_board import Board
from streams.runtime.stage import Batch

EvaluatorResult = Literal["answered", "failed", "timeout", "breaker_open"]
EVALUATOR_RESULTS: tuple[EvaluatorResult, ...] = get_args(EvaluatorResult)
PoisonCause = Literal["batch", "decide", "send"]
POISON_CAUSES: tuple[PoisonCause, ...] = get_args(PoisonCause)
INVALID = tuple(reason for reason in EXCEPTION_REASONS if reason.startswith("invalid."))
# what answers a decision that is late, by the policy's `on_stale`: output and reason
_LATE = {
    "drop": ("exceptions", "stale.age"),
    "reevaluate": ("reevaluations", "stale.age"),
    "escalate": ("reviews", "stale"),
}


class Meter:
    """What one process counts. `workflows` are the only ones that become labels."""

    def __init__(self, board: Board, workflows: Sequence[str] = ()) -> None:
        self.board = board
        for result in ("committed", "late", "failed", "fenced", "denied"):
            board.numbers("transactions", (result,))  # a counter that begins with its first event hides it from rates
        for name in ("hand_overs", "evicted_ids"):
            board.numbers(name)
        self.gauge("clocks_apart", 0)
        for name in ALL_TIMES:
            board.numbers("clock_adjusted", (name,))
        self._workflows = frozenset(workflows[:WORKFLOWS_MAX])

    def committed(
        self,
        fetched: Sequence[Fetched],
        batch: Batch,
        decide_s: float,
        transaction_s: float,
        now_s: float,
        number: int | None = None,
    ) -> None:
        """Adds a batch of partition `number` that was committed at `now_s`, epoch seconds; a timer's has no records."""
        size = 0
        for one in fetched:
            size += len(one)
            self._count("decisions", (one.input,), len(one))
            for offset, unread in (one.unread or {}).items():
                if unread.reason == "lost.removed":
                    self.lost(one.input, unread.through + 1 - offset)
                elif unread.reason == "invalid.batch":
                    self.poison(one.input, "batch")
        self._count("transactions", ("committed",))
        self._sample("batch_records", size)
        self._sample("decide_seconds", decide_s)
        self._sample("transaction_seconds", transaction_s)
        partition = str(fetched[0].partition if number is None else number)
        self.gauge("last_commit_timestamp_seconds", now_s, partition)
        if (offset_ms := _clock_offset_ms(fetched)) is not None:
            self.gauge("broker_clock_offset_seconds", offset_ms / 1000, partition)
        if batch.fill is not None:
            self.gauge("window_ids", batch.fill.ids, partition)
            self.gauge("window_ids_max", batch.fill.ids_max)
            self._count("evicted_ids", (), batch.fill.evicted)
        for (what, workflow, limit), amount in batch.exposed.items():
            self._count(f"exposure_{what}", (label_of(workflow, self._workflows), limit), amount)
        if (observed := batch.observed) is not None:
            for (workflow, output, reason), count in observed.counts.items():
                labels = (label_of(workflow, self._workflows), output, reason_label(reason))
                self._count("dispositions", labels, count)
            for name, count in observed.clock_adjusted.items():
                self._count("clock_adjusted", (name,), count)
            for (workflow, *said), count in observed.shadowed.items():
                self._count("shadow", (label_of(workflow, self._workflows), *said), count)
            for workflow, count in observed.sampled.items():
                self._count("audit_samples", (label_of(workflow, self._workflows),), count)
            self._merge("stage_seconds", STAGES, observed.stages)
            workflows = [label_of(workflow, self._workflows) for workflow in observed.workflows]
            self._merge("decision_age_seconds", workflows, observed.ages)
            self._merge("age_budget_ratio", workflows, observed.ratios)

    def ended(self, how: str) -> None:
        """Counts a transaction that was not committed, or not known to be: late, fenced, failed or denied."""
        self._count("transactions", (how,))

    def reads(self, inputs: Sequence[Input]) -> None:
        """From now on these are the inputs: what alerts count of each begins at 0, not with its first event."""
        for name in inputs:
            self.lost(name, 0)
            for cause in POISON_CAUSES:
                self.poison(name, cause, 0)
        for reason in INVALID if "decisions" in inputs else ():
            self._count("dispositions", (UNKNOWN, "exceptions", reason), 0)

    def lost(self, name: Input, count: int) -> None:
        """Counts offsets of an input that were removed before they were read."""
        self._count("lost_records", (name,), count)

    def poison(self, name: Input, cause: PoisonCause, count: int = 1) -> None:
        """Counts records of an input, or batches of them, that were refused by place."""
        self._count("poison_records", (name, cause), count)

    def handed_over(self) -> None:
        """Counts a partition number that was taken over."""
        self._count("hand_overs", ())

    def asked(self, workflow: str, result: EvaluatorResult, count: int = 1) -> None:
        """Counts questions to the evaluator of `workflow` by how they ended."""
        self._count("evaluator_calls", (label_of(workflow, self._workflows), result), count)

    def gauge(self, name: str, value: float | None, *labels: str) -> None:
        """Sets a gauge; None means that there is no such thing any more."""
        self.board.numbers(name, labels)[0] = np.nan if value is None else value

    def budgets(self, policies: Snapshot) -> None:
        """From now on these are the policies: their workflows are labels, their freshness budgets are shown (seconds).

        What alerts count begins at 0, not with its first event.
        """
        before, self._workflows = self._workflows, frozenset(one.workflow for one in policies.by_index[:WORKFLOWS_MAX])
        for workflow in before - self._workflows:
            self.gauge("policy_budget_seconds", None, workflow)
        for policy in policies.by_index[:WORKFLOWS_MAX]:
            every = (policy.freshness.own, *policy.freshness.segments.values())
            self.gauge("policy_budget_seconds", min(terms.budget_ms for terms in every) / 1000, policy.workflow)
            for limit in policy.exposure:
                self.gauge("exposure_limit", limit.at_most, limit.workflow, limit.name)
                self._count("exposure_over", (limit.workflow, limit.name), 0)
            self._count("dispositions", (policy.workflow, "exceptions", "invalid.future"), 0)
            for terms in every:
                self._count("dispositions", (policy.workflow, *_LATE[terms.on_stale]), 0)
            if policy.freshness.shedding is not None:
                self._count("dispositions", (policy.workflow, "exceptions", "shed.overload"), 0)
            for result in EVALUATOR_RESULTS if policy.evaluator is not None else ():
                self.asked(policy.workflow, result, 0)

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


def _clock_offset_ms(fetched: Sequence[Fetched]) -> int | None:
    """The least of read - broker's time over a batch; None where no record has a time of the broker."""
    offsets_ms = (_shown_ms(one) - max(one.timestamps_ms) for one in fetched if one.broker_time and len(one))
    return min(offsets_ms, default=None)


def _shown_ms(one: Fetched) -> int:
    """What the clock showed: what is believed is never earlier than a broker, so it would hide that the clock is."""
    return one.read_ms if one.shown_ms is None else one.shown_ms
