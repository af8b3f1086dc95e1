"""The execution boundary: what runs without a person. The default is: not this.

The first rule whose `when` holds decides, and a `block` rule whose `when` holds overrides them all. A condition on a
field that is not there, or on an amount in another currency, is neither true nor false (Kleene's third value): where
the outcome hangs on it, the decision goes to a person. Rules are evaluated over columns, one workflow at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.policy import Condition, Limits, Rule
from streams.batch import Refused, Row
from streams.policy import ATTRIBUTE, Policy
from streams.superseding import action_type

Mask = npt.NDArray[np.bool_]
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "over": operator.gt,
    "under": operator.lt,
}
_UNDECIDED = -1


class Verdict(NamedTuple):
    """Kleene's three values over a column: holds, or unknown because of a missing field or another currency."""

    holds: Mask
    missing: Mask
    mismatch: Mask

    @property
    def unknown(self) -> Mask:
        return self.missing | self.mismatch


class Columns:
    """The fields of some rows, one numpy array each, made when a rule first asks for it."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.decisions = [row.decision for row in rows if row.decision is not None]
        self._made: dict[str, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.decisions)

    def get(self, field: str) -> npt.NDArray[Any]:
        """Objects, with None where a decision has no such field (or no comparable value in it)."""
        column = self._made.get(field)
        if column is None:
            column = np.empty(len(self), dtype=object)
            column[:] = self._values(field)
            self._made[field] = column
        return column

    def numbers(self, field: str) -> tuple[npt.NDArray[np.float64], Mask]:
        """float64 and where it is absent. Amounts are within 2**53, so no integer is rounded."""
        if (column := self._made.get(f"number:{field}")) is None:
            values = self.get(field).tolist()
            if field.startswith(ATTRIBUTE):  # all other fields are typed
                values = [None if isinstance(value, (bool, str)) else value for value in values]
            column = np.array(values, dtype=np.float64)  # None becomes NaN
            self._made[f"number:{field}"] = column
        return column, np.isnan(column)

    def _values(self, field: str) -> list[Any]:
        if field == "action_type":
            return [action_type(bytes(decision.action)) for decision in self.decisions]
        if not field.startswith(ATTRIBUTE):
            return list(map(operator.attrgetter(field), self.decisions))
        name = field.removeprefix(ATTRIBUTE)
        values = [(decision.attributes or {}).get(name) for decision in self.decisions]
        return [value if isinstance(value, (str, int, float)) else None for value in values]


def bound(rows: Sequence[Row], policies: Sequence[Policy]) -> None:
    """Gives each row its `rule` and, unless it may run, its `review_reasons` or `refused`."""
    by_policy: dict[int, list[Row]] = {}
    for row in rows:
        by_policy.setdefault(row.policy, []).append(row)
    for index, members in by_policy.items():
        _bound_workflow(members, policies[index])


def _bound_workflow(rows: list[Row], policy: Policy) -> None:
    columns = Columns(rows)
    blocks = [_when(rule, columns) for rule in policy.blocks]
    decided_by = np.full(len(rows), _UNDECIDED)
    for at, rule in enumerate(policy.rules):
        verdict = _when(rule, columns)
        newly = (decided_by == _UNDECIDED) & (verdict.holds | verdict.unknown)
        decided_by[newly] = at
        _apply(rows, rule, newly, verdict, columns)
    for position in np.flatnonzero(decided_by == _UNDECIDED).tolist():
        rows[position].review_reasons = ["no_rule_matched"]
    for rule, verdict in reversed(list(zip(policy.blocks, blocks, strict=True))):
        for position in np.flatnonzero(verdict.unknown).tolist():
            rows[position].rule = rule.name
            rows[position].review_reasons = _unknown(verdict, position)
    for rule, verdict in reversed(list(zip(policy.blocks, blocks, strict=True))):
        for position in np.flatnonzero(verdict.holds).tolist():
            row = rows[position]
            row.rule, row.review_reasons = rule.name, None
            row.stage, row.refused = (
                "boundary",
                Refused("boundary.blocked", f"the rule {rule.name!r} blocks it"),
            )


def _apply(rows: list[Row], rule: Rule, mine: Mask, verdict: Verdict, columns: Columns) -> None:
    """What `rule` says of the rows it decides."""
    for position in np.flatnonzero(mine).tolist():
        rows[position].rule = rule.name
    for position in np.flatnonzero(mine & verdict.unknown).tolist():
        rows[position].review_reasons = _unknown(verdict, position)
    certain = mine & ~verdict.unknown
    if rule.then == "escalate":
        for position in np.flatnonzero(certain).tolist():
            rows[position].review_reasons = ["rule"]
    elif rule.limits:
        for reason, mask in _limits(rule.limits, columns).items():
            for position in np.flatnonzero(certain & mask).tolist():
                row = rows[position]
                row.review_reasons = [*(row.review_reasons or ()), reason]


def _unknown(verdict: Verdict, position: int) -> list[str]:
    missing, mismatch = verdict.missing[position], verdict.mismatch[position]
    return ["field_missing"] * bool(missing) + ["currency_mismatch"] * bool(mismatch)


def _when(rule: Rule, columns: Columns) -> Verdict:
    """All conditions together: false as soon as one is false, else unknown if one is unknown."""
    size = len(columns)
    holds, missing, mismatch = np.ones(size, bool), np.zeros(size, bool), np.zeros(size, bool)
    possible = np.ones(size, bool)
    for field, condition in rule.when.items():
        one = _condition(field, condition, columns)
        possible &= one.holds | one.unknown
        holds &= one.holds
        missing |= one.missing
        mismatch |= one.mismatch
    return Verdict(holds & possible, missing & possible, mismatch & possible)


def _condition(field: str, condition: Condition, columns: Columns) -> Verdict:
    values = columns.get(field)
    missing = _is(values, None)
    mismatch = np.zeros(len(columns), bool)
    holds = ~missing
    if condition.equals is not None:
        holds &= _among(values, [condition.equals])
    if condition.in_ is not None:
        holds &= _among(values, condition.in_)
    if condition.not_in is not None:
        holds &= ~_among(values, condition.not_in)
    for name, compare in _ORDER.items():
        if (edge := getattr(condition, name)) is not None:
            numbers, absent = columns.numbers(field)
            missing |= absent  # text where a number is needed is as good as absent
            holds &= ~absent & compare(numbers, edge)
    if condition.currency is not None:
        currencies = columns.get("currency")
        missing |= _is(currencies, None)
        mismatch = ~missing & ~_is(currencies, condition.currency)
    return Verdict(holds & ~missing & ~mismatch, missing, mismatch)


def _is(column: npt.NDArray[Any], value: object) -> Mask:
    found: Mask = (column == np.array(value, dtype=object)).astype(bool)
    return found


def _among(values: npt.NDArray[Any], wanted: Sequence[Any]) -> Mask:
    # by type as well: True is not 1 here, and "1" is not 1
    flags = {value for value in wanted if isinstance(value, bool)}
    others = {value for value in wanted if not isinstance(value, bool)}
    return np.array([v in (flags if isinstance(v, bool) else others) for v in values.tolist()], dtype=bool)


def _limits(limits: Limits, columns: Columns) -> dict[str, Mask]:
    """Review reason -> where it applies, in the order in which reasons are given."""
    size = len(columns)
    missing = np.zeros(size, bool)
    broken: dict[str, Mask] = {}
    mismatch = np.zeros(size, bool)
    if limits.value_minor_at_most is not None:
        values, absent = columns.numbers("value_minor")
        currencies = columns.get("currency")
        absent = absent | _is(currencies, None)
        mismatch = ~absent & ~_is(currencies, limits.currency)
        missing |= absent
        broken["value_over_limit"] = ~absent & ~mismatch & (np.abs(values) > limits.value_minor_at_most)
    if limits.confidence_at_least is not None:
        confidence, absent = columns.numbers("confidence")
        missing |= absent
        broken["confidence_below"] = ~absent & (confidence < limits.confidence_at_least)
    if limits.reversible:
        flags = columns.get("reversible")
        absent = _is(flags, None)
        missing |= absent
        broken["irreversible"] = ~absent & _is(flags, False)
    return {**broken, "field_missing": missing, "currency_mismatch": mismatch}
