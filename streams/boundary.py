"""The execution boundary: what runs without a person. The default is: not this.

The first rule that holds decides, and a `block` rule that holds overrides them all. A condition on a field that is not
there, or on an amount in another currency, is neither true nor false (Kleene's third value): where the outcome hangs on
it, the decision goes to a person; and so it does where a rule's expression fails. Rules are evaluated over columns, one
workflow at a time. A chain is judged step by step (`streams.chains`), and its most restrictive outcome counts.

Shadow rules decide nothing. What each of them would have said is counted beside what was done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from streams.batch import Refused, Row
from streams.chains import Subject, is_chain, steps_of
from streams.columns import Columns, Mask
from streams.conditions import ERROR, HOLDS, MISMATCH, MISSING, beyond
from streams.policy import Policy
from streams.rules import Book, Found

Done = Literal["autonomous", "escalate", "block"]
Said = Literal["autonomous", "escalate", "block", "error"]
Shadowed = Counter[tuple[str, str, str, str]]  # by workflow, rule, what it would have said, what was done
# about 30 ns each: a chain takes 6 ms at most, however many rules there are. 500 rules leave room for chains of 100
# steps (judged twice each, with their own value and with the decision's), 2,000 for those of 50.
STEPS_TIMES_RULES_MAX = 200_000
RANK: dict[str, int] = {"autonomous": 0, "escalate": 1, "error": 2, "block": 3}


class Judged(msgspec.Struct, gc=False):
    """What the rules say of one step; a row takes it in the same fields."""

    rule: str | None = None
    review_reasons: list[str] | None = None
    refused: Refused | None = None
    stage: str = "boundary"


def bound(rows: Sequence[Row], policies: Sequence[Policy]) -> Shadowed:
    """Gives each row its `rule` and, unless it may run, its `review_reasons` or `refused`; counts the shadow rules."""
    by_policy: dict[int, list[Row]] = {}
    for row in rows:
        by_policy.setdefault(row.policy, []).append(row)
    shadowed = Shadowed()
    for index, members in by_policy.items():
        _bound_workflow(members, policies[index], shadowed)
    return shadowed


def _bound_workflow(rows: list[Row], policy: Policy, shadowed: Shadowed) -> None:
    decisions = [row.decision for row in rows if row.decision is not None]
    # no JSON holds a NUL, so an array begins after one or at the start
    joined = b"\0".join([one.action for one in decisions])
    if joined.startswith(b"[") or b"\0[" in joined:
        columns, owners = _judge_chains(rows, policy)
    else:
        columns, owners = Columns(decisions), range(len(rows))
        judge(rows, columns, policy)
    if policy.shadows.rules:
        _shadow(policy, columns, owners, [done(row) for row in rows], shadowed)


def _judge_chains(rows: list[Row], policy: Policy) -> tuple[Columns, Sequence[int]]:
    """What was looked at, and by which row each of it is owned."""
    subjects: list[Subject] = []
    owners: list[int] = []
    cannot: list[tuple[Row, str]] = []
    steps_max = STEPS_TIMES_RULES_MAX // max(1, len(policy.document.boundary.rules))
    for at, row in enumerate(rows):
        assert row.decision is not None
        seen: Sequence[Subject] = [row.decision]
        if is_chain(row.decision):
            steps = steps_of(row.decision)
            if steps is None or len(steps) > steps_max:
                cannot.append((row, "field_missing" if steps is None else "policy_error"))
            else:
                seen = steps
        subjects += seen
        owners += [at] * len(seen)
    columns, judged = Columns(subjects), [Judged() for _ in subjects]
    judge(judged, columns, policy)
    worst: dict[int, Judged] = {}
    for at, one in zip(owners, judged, strict=True):
        if (before := worst.get(at)) is None or RANK[done(one)] > RANK[done(before)]:
            worst[at] = one
    for at, one in worst.items():
        row = rows[at]
        row.rule, row.review_reasons, row.refused = one.rule, one.review_reasons, one.refused
        if one.refused is not None:
            row.stage = one.stage
    for row, reason in cannot:
        if row.refused is None:
            row.review_reasons = row.review_reasons or [reason]
    return columns, owners


def done(judged: Row | Judged) -> Done:
    """What the rules let happen."""
    if judged.refused is not None:
        return "block"
    return "autonomous" if judged.review_reasons is None else "escalate"


def judge(judged: Sequence[Row | Judged], columns: Columns, policy: Policy) -> None:
    """Writes into each of `judged` what the rules say of the same row of `columns`."""
    undecided = np.ones(len(columns), dtype=bool)
    _block(judged, columns, policy.block_book, undecided)
    for found in policy.book.walk(columns, undecided):
        undecided[found.rows] = False
        _apply(judged, found, columns)
    for row in np.flatnonzero(undecided).tolist():
        judged[row].review_reasons = ["no_rule_matched"]


def _block(judged: Sequence[Row | Judged], columns: Columns, blocks: Book, undecided: Mask) -> None:
    """The first block that holds; else the first that may hold, which keeps the row from running."""
    maybe: dict[int, tuple[str, int]] = {}
    for found in blocks.walk(columns, undecided):
        name = found.ready.rule.name
        for row, code in zip(found.rows.tolist(), found.codes.tolist(), strict=True):
            if code != HOLDS:
                maybe.setdefault(row, (name, code))
                continue
            undecided[row] = False
            one = judged[row]
            one.rule, one.stage = name, "boundary"
            one.refused = Refused("boundary.blocked", f"the rule {name!r} blocks it")
    for row, (name, code) in maybe.items():
        if undecided[row]:
            undecided[row] = False
            judged[row].rule, judged[row].review_reasons = name, unknown(code)


def _apply(judged: Sequence[Row | Judged], found: Found, columns: Columns) -> None:
    """What the rule says of the rows that it decides."""
    rule = found.ready.rule
    for row, code in zip(found.rows.tolist(), found.codes.tolist(), strict=True):
        judged[row].rule = rule.name
        if code != HOLDS:
            judged[row].review_reasons = unknown(code)
        elif rule.then == "escalate":
            judged[row].review_reasons = ["rule"]
    if rule.limits is not None:
        for row, reasons in beyond(rule.limits, columns, found.rows[found.codes == HOLDS]).items():
            judged[row].review_reasons = reasons


def unknown(code: int) -> list[str]:
    """The reasons for a review where a rule is neither true nor false."""
    if code & ERROR:
        return ["policy_error"]
    return ["field_missing"] * bool(code & MISSING) + ["currency_mismatch"] * bool(code & MISMATCH)


def _shadow(policy: Policy, columns: Columns, owners: Sequence[int], happened: list[Done], shadowed: Shadowed) -> None:
    """Counts what each shadow rule would have said of a row: of a chain the most restrictive that it says of a step.

    A chain would have run only if the rule lets each of its steps run.
    """
    sizes = Counter(owners)
    for found in policy.shadows.walk(columns, np.ones(len(columns), dtype=bool)):
        rule = found.ready.rule
        stopped = beyond(rule.limits, columns, found.rows[found.codes == HOLDS]) if rule.limits else {}
        said: dict[int, list[Said]] = {}
        for row, code in zip(found.rows.tolist(), found.codes.tolist(), strict=True):
            one: Said = "error" if code & ERROR else rule.then if code == HOLDS and row not in stopped else "escalate"
            said.setdefault(owners[row], []).append(one)
        for owner, each in said.items():
            worst = max(each, key=RANK.__getitem__)
            if worst != "autonomous" or len(each) == sizes[owner]:
                shadowed[policy.workflow, rule.name, worst, happened[owner]] += 1
