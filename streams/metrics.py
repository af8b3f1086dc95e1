"""What a batch adds to the metrics, and how the series of several processes become one. `metric_table` has them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from schemas.common import Stages
from schemas.reasons import COMMAND_REASONS, EXCEPTION_REASONS, REVIEW_REASONS
from streams.metric_table import FAMILIES, LATENCY_EDGES_S, RATIO_EDGES

Answered = Literal["commands", "reviews", "exceptions", "reevaluations", "successors", "rejections", "workers"]
Series = Mapping[tuple[str, tuple[str, ...]], NDArray[np.float64]]  # by family and labels
Merged = dict[tuple[str, tuple[str, ...]], NDArray[np.float64]]  # the same, with the role as the first label

STAGES = Stages.__struct_fields__
REASONS = frozenset({*COMMAND_REASONS, *REVIEW_REASONS, *EXCEPTION_REASONS})
UNKNOWN = "unknown"
WORKFLOWS_MAX = 2_000  # with labels of their own, about 40 series each; what comes beyond them is `unknown` too


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by row and bin, and the sum of each row in the metric's unit."""

    counts: NDArray[np.int64]
    sums: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observed:
    """What one batch adds, once it is committed. Rows of `stages` are STAGES, rows of the others `workflows`."""

    counts: Mapping[tuple[str, Answered, str], int]  # by (workflow or "", output, reason)
    stages: Histogram
    workflows: tuple[str, ...]
    ages: Histogram
    ratios: Histogram
    clock_adjusted: Mapping[str, int] = field(default_factory=dict)  # rows by the name of a time that was bounded
    shadowed: Mapping[tuple[str, str, str, str], int] = field(default_factory=dict)  # by the labels of `shadow`
    sampled: Mapping[str, int] = field(default_factory=dict)  # by workflow


def only_counts(counts: Mapping[tuple[str, Answered, str], int]) -> Observed:
    """What a batch adds that measures no ages."""
    none = np.zeros(0), np.zeros(0, dtype=np.int64)
    return Observed(
        counts,
        histogram(*none, len(STAGES), LATENCY_EDGES_S),
        (),
        histogram(*none, 0, LATENCY_EDGES_S),
        histogram(*none, 0, RATIO_EDGES),
    )


def merge(parts: Iterable[tuple[str, Series]]) -> Merged:
    """The series of several children as one set, each with its role as the first label."""
    merged: Merged = {}
    for role, series in parts:
        for (name, labels), numbers in series.items():
            key = (name, (role, *labels))
            merged[key] = FAMILIES[name].together(merged[key], numbers) if key in merged else numbers
    return merged


def label_of(workflow: str, known: frozenset[str]) -> str:
    """The workflow as a label: itself if it is one of `known`, else `unknown`."""
    return workflow if workflow in known else UNKNOWN


def reason_label(reason: str) -> str:
    """The reason as a label: itself if the closed list has it, else `unknown`."""
    return reason if reason in REASONS else UNKNOWN


def histogram(values: NDArray[np.float64], rows: NDArray[np.int64], count: int, edges: tuple[float, ...]) -> Histogram:
    """Sorts `values` into bins of `edges` (each bin up to and with its edge), in `count` rows."""
    bins = len(edges) + 1
    at = rows * bins + np.searchsorted(edges, values, side="left")
    counts: NDArray[np.int64] = np.bincount(at, minlength=count * bins).reshape(count, bins)
    sums = np.bincount(rows, weights=values, minlength=count).astype(np.float64)
    return Histogram(counts, sums)
