"""The whole way of a batch, in one function: bytes, clock and policies in; records to send out.

    shedding   what does not fit in time -> refused at a glance; only under overload
    ingest     decode and validate       -> a decision, or refused
    window     on its way already?       -> new, or refused
    latency    stage times, clock skew   -> age and stages
    freshness  deadlines, context        -> fresh; or refused, asked again, or shown to a person
    halt       stopped by hand?          -> not, or refused
    boundary   the policy's rules        -> may run, goes to a person, or refused
    superseding  went a later one before?  -> goes out, or refused
    exposure   does it fit the limits?   -> goes out, goes to a person, or refused
    publish    one record each, with its reason
    sampling   some commands         -> shown to a person too, afterwards

Rows that are settled skip what follows; those refused are published as exceptions. Order and count are the input's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

from schemas.published import Current
from streams.batch import Decided, Fetched, Output, Refused, Remembered, Row, Sent
from streams.boundary import Shadowed, bound
from streams.freshness import deadlines, judge
from streams.halts import NO_HALTS, Granted, Halts, stop
from streams.headers import DEFAULTS, HeaderSettings
from streams.ingest import ingest
from streams.latency import Measured, measure
from streams.memory import Memory
from streams.observe import observe
from streams.policy import Policy
from streams.publish import publish
from streams.sampling import sample
from streams.window import ROOT_HAS_COMMAND


class Snapshot:
    """The policies in force, by workflow and in the order of their `index`, and what restricts or widens them.

    One is made for each change and never changed: a batch is decided under one snapshot. `currents`: the pointers, by
    workflow; empty where the policies come from a folder.
    """

    def __init__(
        self,
        policies: Sequence[Policy],
        halts: Halts = NO_HALTS,
        currents: Mapping[str, Current] = MappingProxyType({}),
        preapprovals: Sequence[Granted] = (),
    ) -> None:
        self.by_index = tuple(policies)
        self.by_workflow: Mapping[str, Policy] = {policy.workflow: policy for policy in policies}
        self.tolerances_ms = tuple(policy.freshness.skew_tolerance_ms for policy in policies)
        self.halts = halts
        self.currents = currents
        self.preapprovals = tuple(preapprovals)

    def under(self, halts: Halts) -> Snapshot:
        """The same under other halts."""
        made = copy(self)
        made.halts = halts
        return made


class Judged(NamedTuple):
    """A batch with its endings, before anything is written: each row knows where it goes, and why."""

    rows: Sequence[Row]
    new: Sequence[Row]  # those that could be read as decisions
    remembered: Remembered
    measured: Measured
    shadowed: Shadowed


def judged(fetched: Sequence[Fetched], now_ms: int, policies: Snapshot, memory: Memory) -> Judged:
    """All of the path but shedding and publish; see `decide`."""
    rows = ingest(fetched, now_ms, policies.by_workflow, memory.home)
    new = _open(rows)
    deadlines(new, policies.by_index)
    remembered = memory.window.recognise(new, now_ms)
    measured = measure(new, now_ms)
    judge(_open(new), policies.by_index, now_ms, memory.contexts, memory.allowances_ms, memory.commit_ms)
    if policies.halts:
        stop([row for row in new if not row.settled], policies.halts)
    shadowed = bound([row for row in new if not row.settled], policies.by_index)
    _let_go(new, memory, remembered, now_ms, policies)
    return Judged(rows, new, remembered, measured, shadowed)


def decide(
    fetched: Sequence[Fetched],
    now_ms: int,
    policies: Snapshot,
    memory: Memory,
    settings: HeaderSettings = DEFAULTS,
) -> Decided:
    """Decides a batch at one reading of the clock, `now_ms`, which all its outputs carry as `gated_at_ms`.

    `memory` is read and not changed: `memory.plan(decided.remembered, ...)` says what is new, and `memory.apply` keeps
    it once the batch is committed. So a batch that came to nothing can be decided again.
    """
    plan = None
    if memory.admission is not None:
        plan = memory.admission.plan(fetched, now_ms, policies.by_workflow, memory.allowances_ms, settings)
    found = judged(fetched if plan is None else plan.full, now_ms, policies, memory)
    remembered = found.remembered
    records, counts = _published(found.rows, now_ms, policies, settings)
    if plan is not None:
        remembered.learnt, records, counts = plan.learnt, plan.joined(records), {**counts, **plan.counts}
    commanded = [row for row in found.new if not row.settled]
    earliest_ms = min([row.ends_ms for row in commanded], default=None)
    samples, sampled = sample(commanded, policies.by_index, now_ms, settings)
    observed = observe(found.new, found.measured, policies.by_index, counts)
    observed = replace(observed, shadowed=found.shadowed, sampled=sampled)
    return Decided(records, remembered, now_ms, earliest_ms, counts, observed, samples)


def _open(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.refused is None]


def _let_go(rows: Sequence[Row], memory: Memory, remembered: Remembered, now_ms: int, policies: Snapshot) -> None:
    """Refuses what one of the batch has gone before: the same id, a later observation, a command of its root.

    What goes out enters the window.
    """
    window, entries, tolerances_ms = memory.window, remembered.entries, policies.tolerances_ms
    for row in rows:
        if row.digest in entries and row.stage != "window":
            _refuse(row, "window", window.met(remembered, row))
            row.rule = row.context_seen = None  # as if it had come a batch later
        refused = row.refused
        if refused is not None:
            continue
        freshness, standing = policies.by_index[row.policy].freshness, None
        if freshness.supersede:
            standing = memory.latest.standing(remembered, row, now_ms, freshness.skew_tolerance_ms)
            if standing.superseded is not None:
                _refuse(row, "superseding", standing.superseded)
                continue
        second = window.is_commanded(remembered, row, now_ms)
        limits = policies.by_index[row.policy].exposure
        if limits and not row.settled and not second:
            memory.exposure.take(remembered, row, limits, now_ms)
            if row.refused is not None:
                continue
        if second:
            _refuse(row, "window", ROOT_HAS_COMMAND)
            continue
        window.enter(remembered, row, now_ms, tolerances_ms, commanded=not row.settled)
        if standing is not None and row.again is None:
            remembered.latest[standing.key] = standing.entry


def _refuse(row: Row, stage: str, refused: Refused) -> None:
    row.stage, row.refused, row.review_reasons, row.again = stage, refused, None, None


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
