"""Decision latency: where the age of a decision went, stage by stage (CONTRACT: "Times and deadlines").

Each time is bounded to lie between the one before it and `gated_at_ms`; an absent one merges its stage into the next.
So no stage is negative and their sum is the age. A time that had to be bounded is named: some clock is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streams.batch import Row

# the end of each stage but the last, in the order in which they happen
TIMES = ("decided_at_ms", "sent_at_ms", "broker_time_ms", "read_ms")
ABSENT = -1


def measure(rows: Sequence[Row], gated_at_ms: int) -> None:
    """Fills in `age_ms`, `stages` (inference, producer, transport, queue, gate) and `clock_adjusted` of each row.

    The columns are int64 of shape (5, rows): observed, decided, sent, broker, read.
    """
    if not rows:
        return
    times = np.array([_times_of(row) for row in rows], dtype=np.int64).T
    absent = times == ABSENT
    observed = np.minimum(times[0], gated_at_ms)
    bounded = np.where(absent, observed, np.minimum(times, gated_at_ms))
    bounded[0] = observed
    bounded = np.maximum.accumulate(bounded, axis=0)
    adjusted = (bounded != times) & ~absent
    ends = np.vstack([bounded[1:], np.full(len(rows), gated_at_ms, dtype=np.int64)])
    stages = np.diff(np.vstack([bounded[:1], ends]), axis=0)
    ages = gated_at_ms - observed
    # an absent time ends no stage: what it took is counted to the next one, since `bounded` did not move there
    for row, age_ms, spans, gone in zip(rows, ages.tolist(), stages.T.tolist(), absent[1:].T.tolist(), strict=True):
        row.age_ms = age_ms
        row.stages = (*(None if out else span for span, out in zip(spans, gone, strict=False)), spans[-1])
    names = ("observed_at_ms", *TIMES)
    for column in np.flatnonzero(adjusted.any(axis=0)).tolist():
        rows[column].clock_adjusted = tuple(
            name for name, moved in zip(names, adjusted[:, column].tolist(), strict=True) if moved
        )


def _times_of(row: Row) -> tuple[int, int, int, int, int]:
    decision, fetched = row.decision, row.fetched
    assert decision is not None
    decided, sent = decision.decided_at_ms, decision.sent_at_ms
    return (
        decision.observed_at_ms,
        ABSENT if decided is None else decided,
        ABSENT if sent is None else sent,
        fetched.timestamps_ms[row.index],
        fetched.read_ms,
    )
