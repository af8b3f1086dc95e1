"""Decision latency: where the age of a decision went, stage by stage (CONTRACT: "Times and deadlines").

Each time is bounded to lie between the one before it and `gated_at_ms`; an absent one merges its stage into the next.
So no stage is negative and their sum is the age. A time that had to be bounded is named: some clock is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt

from streams.batch import Row

# the end of each stage but the last, in the order in which they happen
TIMES = ("decided_at_ms", "sent_at_ms", "broker_time_ms", "read_ms")
ALL_TIMES = ("observed_at_ms", *TIMES)  # as `clock_adjusted` names them
ABSENT = -1


class Measured(NamedTuple):
    """The columns of what was measured: int64, `ages_ms` of shape (rows,), `stages_ms` of (5, rows), ABSENT as -1.

    `adjusted`: of how many rows each of ALL_TIMES had to be bounded.
    """

    ages_ms: npt.NDArray[np.int64]
    stages_ms: npt.NDArray[np.int64]
    adjusted: tuple[int, ...] = (0,) * len(ALL_TIMES)


def measure(rows: Sequence[Row], gated_at_ms: int) -> Measured:
    """Fills in `age_ms`, `stages` (inference, producer, transport, queue, gate) and `clock_adjusted` of each row.

    The columns are int64 of shape (5, rows): observed, decided, sent, broker, read.
    """
    if not rows:
        return Measured(np.empty(0, dtype=np.int64), np.empty((len(TIMES) + 1, 0), dtype=np.int64))
    times = _times(rows)
    absent = times == ABSENT
    observed = np.minimum(times[0], gated_at_ms)
    bounded = np.where(absent, observed, np.minimum(times, gated_at_ms))
    bounded[0] = observed
    bounded = np.maximum.accumulate(bounded, axis=0)
    ends = np.vstack([bounded[1:], np.full(len(rows), gated_at_ms, dtype=np.int64)])
    # an absent time ends no stage: what it took is counted to the next one, since `bounded` did not move there
    stages = np.diff(np.vstack([bounded[:1], ends]), axis=0)
    ages_ms = gated_at_ms - observed
    gone = absent[1:]
    spans = zip(
        *[_column(span, out) for span, out in zip(stages, gone, strict=False)], stages[-1].tolist(), strict=True
    )
    for row, age_ms, of_row in zip(rows, ages_ms.tolist(), spans, strict=True):
        row.age_ms, row.stages = age_ms, of_row
    adjusted = (bounded != times) & ~absent
    _name_adjusted(rows, adjusted)
    stages[:-1][gone] = ABSENT
    return Measured(ages_ms, stages, tuple(adjusted.sum(axis=1).tolist()))


def _times(rows: Sequence[Row]) -> npt.NDArray[np.int64]:
    decisions = [row.decision for row in rows if row.decision is not None]
    decided = [decision.decided_at_ms for decision in decisions]
    sent = [decision.sent_at_ms for decision in decisions]
    return np.array(
        [
            [decision.observed_at_ms for decision in decisions],
            [ABSENT if time_ms is None else time_ms for time_ms in decided],
            [ABSENT if time_ms is None else time_ms for time_ms in sent],
            [row.fetched.timestamps_ms[row.index] for row in rows],
            [row.fetched.read_ms for row in rows],
        ],
        dtype=np.int64,
    )


def _column(span: npt.NDArray[np.int64], gone: npt.NDArray[np.bool_]) -> list[int | None]:
    if not gone.any():
        return cast(list[int | None], span.tolist())
    return [None if out else ms for ms, out in zip(span.tolist(), gone.tolist(), strict=True)]


def _name_adjusted(rows: Sequence[Row], adjusted: npt.NDArray[np.bool_]) -> None:
    for column in np.flatnonzero(adjusted.any(axis=0)).tolist():
        rows[column].clock_adjusted = tuple(
            name for name, moved in zip(ALL_TIMES, adjusted[:, column].tolist(), strict=True) if moved
        )
