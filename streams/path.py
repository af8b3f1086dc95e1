"""The whole way of a batch, in one function: bytes, clock and policies in; records to send out.

    ingest     decode and validate       -> a decision, or refused
    window     here before?              -> new, or refused
    latency    stage times, clock skew   -> age and stages
    freshness  deadlines                 -> fresh, or refused
    boundary   the policy's rules        -> may run, goes to a person, or refused
    publish    one record each, with its reason

Rows that are refused skip what follows and are published as exceptions. Order and count are the input's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from streams.batch import Decided, Fetched, Output, Remembered, Row, Sent
from streams.boundary import bound
from streams.freshness import deadlines, drop_stale
from streams.headers import DEFAULTS, HeaderSettings
from streams.ingest import ingest
from streams.latency import measure
from streams.observe import observe
from streams.policy import Policy
from streams.publish import publish
from streams.window import ROOT_HAS_COMMAND, Window


class Snapshot:
    """The policies in force, by workflow and in the order of their `index`."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.by_index = tuple(policies)
        self.by_workflow: Mapping[str, Policy] = {policy.workflow: policy for policy in policies}
        self.tolerances_ms = tuple(policy.skew_tolerance_ms for policy in policies)


def decide(
    fetched: Sequence[Fetched],
    now_ms: int,
    policies: Snapshot,
    window: Window,
    settings: HeaderSettings = DEFAULTS,
) -> Decided:
    """Decides a batch at one reading of the clock, `now_ms`, which all its outputs carry as `gated_at_ms`.

    `window` is read and not changed: `window.commit(decided.remembered, ...)` keeps what is new, once the batch is
    going to be sent. So a batch that came to nothing can be decided again.
    """
    rows = ingest(fetched, now_ms, policies.by_workflow)
    new = _open(rows)
    deadlines(new, policies.by_index)
    remembered = window.remember(new, now_ms, policies.tolerances_ms)
    measured = measure(new, now_ms)
    drop_stale(_open(new), policies.by_index, now_ms)
    bound(_open(new), policies.by_index)
    _one_command_each(_open(new), window, remembered, now_ms, policies.tolerances_ms)
    records, counts = _published(rows, now_ms, policies, settings)
    commanded = [row for row in new if row.refused is None and row.review_reasons is None]
    earliest_ms = min([row.ends_ms for row in commanded], default=None)
    observed = observe(new, measured, policies.by_index, counts)
    return Decided(records, remembered, now_ms, earliest_ms, counts, observed)


def _open(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.refused is None]


def _one_command_each(
    rows: Sequence[Row], window: Window, remembered: Remembered, now_ms: int, tolerances_ms: Sequence[int]
) -> None:
    """Refuses what would be, or might become by a review, a second command for its root."""
    for row in rows:
        if row.review_reasons is not None:
            second = window.is_commanded(remembered, row, now_ms)
        else:
            second = not window.mark_commanded(remembered, row, now_ms, tolerances_ms)
        if second:
            row.stage, row.refused = "window", ROOT_HAS_COMMAND


def _published(
    rows: Sequence[Row], now_ms: int, policies: Snapshot, settings: HeaderSettings
) -> tuple[list[Sent], dict[tuple[str, Output, str], int]]:
    """A record for each row, and how many there are of each (workflow or "", output, reason)."""
    records = []
    answers: list[tuple[int, Output, str]] = []
    for row in rows:
        sent, reason = publish(row, policies.by_index[row.policy] if row.policy >= 0 else None, now_ms, settings)
        records.append(sent)
        answers.append((row.policy, sent.output, reason))
    counts = {
        (policies.by_index[index].workflow if index >= 0 else "", output, reason): count
        for (index, output, reason), count in Counter(answers).items()
    }
    return records, counts
