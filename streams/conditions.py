"""Conditions: what one field of a rule must be, over a whole column or for one row.

A condition holds, is false, or is unknown: a field is missing, or an amount is in another currency (Kleene's third
value, with its reason). Many rows are tested as columns; where only a few are left, a row at a time is cheaper. Both
ways say the same; numbers are compared as doubles.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.policy import Condition, Limits, Scalar
from streams.columns import Columns, Mask, Places

FALSE: Final = 0
HOLDS: Final = 1
MISSING: Final = 2  # these can stand together, and then nothing is known
MISMATCH: Final = 4
ERROR: Final = 8
UNKNOWN: Final = MISSING | MISMATCH
FEW = 12  # rows; about where a row at a time becomes dearer than columns

Codes = npt.NDArray[np.uint8]
ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "over": operator.gt,
    "under": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Test:
    """One condition made ready. Texts and numbers are told from flags: True is not 1 here."""

    field: str
    wanted: tuple[frozenset[Scalar], ...]  # in each of them it must be, by `key`
    unwanted: frozenset[Scalar]
    edges: tuple[tuple[Callable[[Any, Any], Any], float], ...]
    currency: str | None

    @property
    def is_choice(self) -> bool:
        """Whether it only says which values the field may have."""
        return len(self.wanted) == 1 and not self.unwanted and not self.edges and self.currency is None

    def of(self, columns: Columns, rows: Places) -> Codes:
        """HOLDS, FALSE, MISSING or MISMATCH for each of these rows."""
        missing = columns.missing(self.field)[rows]
        holds = ~missing
        if self.wanted or self.unwanted:
            values = list(map(key, columns.array(self.field)[rows].tolist()))
            for wanted in self.wanted:
                holds &= np.fromiter((value in wanted for value in values), bool, len(values))
            if self.unwanted:
                holds &= np.fromiter((value not in self.unwanted for value in values), bool, len(values))
        if self.edges:
            numbers = columns.numbers(self.field)[rows]
            missing = missing | np.isnan(numbers)  # text where a number is needed is as good as absent
            for compare, edge in self.edges:
                holds &= compare(numbers, edge)
        codes = holds.astype(np.uint8)
        if self.currency is not None:
            missing = missing | columns.missing("currency")[rows]
            codes[_is_not(columns, rows, self.currency)] = MISMATCH
        codes[missing] = MISSING
        return codes

    def one(self, columns: Columns, row: int) -> int:
        """The same for one row."""
        value = columns.values(self.field)[row]
        if value is None:
            return MISSING
        holds = True
        if self.edges:
            number = columns.numbers(self.field)[row]
            if number != number:
                return MISSING
            holds = all(compare(number, edge) for compare, edge in self.edges)
        if self.currency is not None and (currency := columns.values("currency")[row]) != self.currency:
            return MISSING if currency is None else MISMATCH
        if self.wanted or self.unwanted:
            value = key(value)
            holds = holds and value not in self.unwanted and all(value in wanted for wanted in self.wanted)
        return HOLDS if holds else FALSE


def test_of(field: str, condition: Condition) -> Test:
    """The condition made ready; it has been checked."""
    wanted = [] if condition.equals is None else [choice([condition.equals])]
    if condition.in_ is not None:
        wanted.append(choice(condition.in_))
    return Test(
        field,
        tuple(wanted),
        choice(condition.not_in or ()),
        tuple(
            (compare, float(edge)) for name, compare in ORDER.items() if (edge := getattr(condition, name)) is not None
        ),
        condition.currency,
    )


def key(value: Any) -> Any:
    """Under which a value is looked up: a flag is another thing than a number."""
    return (value,) if value is True or value is False else value


def choice(values: Iterable[Scalar]) -> frozenset[Any]:
    """The values as they are looked up."""
    return frozenset(map(key, values))


def beyond(limits: Limits, columns: Columns, rows: Places) -> dict[int, list[str]]:
    """The rows that the limits stop, and the reasons in the order in which they are given."""
    if len(rows) <= FEW:
        found = {row: _beyond_one(limits, columns, row) for row in rows.tolist()}
        return {row: reasons for row, reasons in found.items() if reasons}
    stopped: dict[int, list[str]] = {}
    for reason, mask in _beyond(limits, columns, rows):
        for row in rows[mask].tolist():
            stopped.setdefault(row, []).append(reason)
    return stopped


def _beyond(limits: Limits, columns: Columns, rows: Places) -> list[tuple[str, Mask]]:
    missing, mismatch = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    broken: list[tuple[str, Mask]] = []
    if limits.value_minor_at_most is not None and limits.currency is not None:
        absent = columns.missing("value_minor")[rows] | columns.missing("currency")[rows]
        mismatch = _is_not(columns, rows, limits.currency) & ~absent
        missing |= absent
        over = np.abs(columns.numbers("value_minor")[rows]) > limits.value_minor_at_most
        broken.append(("value_over_limit", over & ~absent & ~mismatch))
    if limits.confidence_at_least is not None:
        missing |= columns.missing("confidence")[rows]
        broken.append(("confidence_below", columns.numbers("confidence")[rows] < limits.confidence_at_least))
    if limits.reversible:
        absent = columns.missing("reversible")[rows]
        missing |= absent
        broken.append(("irreversible", ~absent & ~columns.array("reversible")[rows].astype(bool)))
    return [*broken, ("field_missing", missing), ("currency_mismatch", mismatch)]


def _beyond_one(limits: Limits, columns: Columns, row: int) -> list[str]:
    reasons, missing, mismatch = [], False, False
    if limits.value_minor_at_most is not None:
        value, currency = columns.values("value_minor")[row], columns.values("currency")[row]
        if value is None or currency is None:
            missing = True
        elif currency != limits.currency:
            mismatch = True
        elif abs(value) > limits.value_minor_at_most:
            reasons.append("value_over_limit")
    if limits.confidence_at_least is not None:
        confidence = columns.values("confidence")[row]
        missing = missing or confidence is None
        if confidence is not None and confidence < limits.confidence_at_least:
            reasons.append("confidence_below")
    if limits.reversible:
        flag = columns.values("reversible")[row]
        missing = missing or flag is None
        if flag is False:
            reasons.append("irreversible")
    return [*reasons, *["field_missing"] * missing, *["currency_mismatch"] * mismatch]


def _is_not(columns: Columns, rows: Places, currency: str) -> Mask:
    """Where there is another currency, or none."""
    different: Mask = (columns.array("currency")[rows] != np.array(currency, dtype=object)).astype(bool)
    return different
