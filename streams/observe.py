"""Observe: what a decided batch adds to the metrics, computed over columns; nothing here is done per event in Python
but the reading of the columns from the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.batch import Output, Row
from streams.latency import ABSENT, ALL_TIMES, Measured
from streams.metric_table import LATENCY_EDGES_S, RATIO_EDGES
from streams.metrics import STAGES, Observed, histogram
from streams.policy import Policy


def observe(
    rows: Sequence[Row],
    measured: Measured,
    policies: Sequence[Policy],
    counts: Mapping[tuple[str, Output, str], int],
) -> Observed:
    """What these rows, and their columns in `measured`, add. Repeats add to the clocks alone; `counts` is passed on.

    `policies` is by policy index; times of rows are in milliseconds, histograms in seconds. Raises nothing.
    """
    policy = np.array([row.policy for row in rows], dtype=np.int64)
    counted = np.array([row.stage != "window" for row in rows], dtype=bool)
    budgets_ms = np.array([row.budget_ms for row in rows], dtype=np.int64)[counted]
    ages_ms, stages_ms = measured.ages_ms[counted], measured.stages_ms[:, counted]
    return of_columns(policy[counted], ages_ms, stages_ms, budgets_ms, policies, counts, measured.adjusted)


def of_columns(
    policy: NDArray[np.int64],
    ages_ms: NDArray[np.int64],
    stages_ms: NDArray[np.int64],
    budgets_ms: NDArray[np.int64],
    policies: Sequence[Policy],
    counts: Mapping[tuple[str, Output, str], int],
    adjusted: Sequence[int] = (),
) -> Observed:
    """The same from columns: policy index, age, budget and stages of each row, the last of shape (5, rows).

    `adjusted`: of how many rows each of ALL_TIMES was bounded, in that order; empty where nobody looked.
    """
    present, rows = np.unique(policy, return_inverse=True)
    in_force = [policies[index] for index in present.tolist()]
    ages_s = ages_ms / 1000
    known = stages_ms != ABSENT
    stage = np.broadcast_to(np.arange(len(STAGES))[:, None], stages_ms.shape)
    return Observed(
        counts=counts,
        stages=histogram(stages_ms[known] / 1000, stage[known], len(STAGES), LATENCY_EDGES_S),
        workflows=tuple(one.workflow for one in in_force),
        ages=histogram(ages_s, rows, len(in_force), LATENCY_EDGES_S),
        ratios=histogram(ages_ms / budgets_ms, rows, len(in_force), RATIO_EDGES),
        clock_adjusted={name: count for name, count in zip(ALL_TIMES, adjusted, strict=False) if count},
    )
