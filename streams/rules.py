"""Rules made ready: of thousands, only those are evaluated whose choice of values occurs in the batch.

A rule that says `equals` or `in` for a text field or an attribute is entered under each of those values. Where a row
has such a field, rules entered under other values are false for it and are not looked at. Where the field is missing,
the condition is unknown, and the rules fall back to what else they say: for each set of fields that can be missing
together there is a plan of its own, made when it first occurs. A plan ends where a rule always decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from schemas.policy import Rule
from streams.cel import Expression
from streams.columns import Columns, Mask, Places
from streams.conditions import ERROR, FALSE, FEW, HOLDS, MISSING, UNKNOWN, Codes, Test, key, test_of
from streams.fields import ATTRIBUTE, TEXTS

INDEXED_FROM = 8  # rules; fewer are as cheap to walk
FIELDS_MAX = 6  # by which rules are entered: hence at most 64 plans
# which rules of a row matter: the first that is not false; all up to the first that holds; all
Wanted = Literal["first", "until_holds", "all"]


@dataclass(frozen=True, slots=True)
class Ready:
    """One rule, its conditions and its expression compiled."""

    rule: Rule
    tests: tuple[Test, ...]
    cel: Expression | None


class Entry(NamedTuple):
    """What of a rule is left to look at in some plan. `unknown`: one of its conditions is, in this plan."""

    order: int
    ready: Ready
    tests: tuple[Test, ...]
    unknown: bool

    @property
    def is_certain(self) -> bool:
        """Whether every row that comes here gets the same from it."""
        return not self.tests and (self.unknown or self.ready.cel is None)


class Found(NamedTuple):
    """Rows for which a rule is not false, and what it is."""

    ready: Ready
    rows: Places
    codes: Codes


@dataclass(slots=True)
class _Plan:
    everywhere: list[Entry]
    entered: dict[str, dict[Any, list[Entry]]] = field(default_factory=dict)


class Book:
    """Some rules in their order. Plans are kept, so one book serves all batches; its answers do not depend on that."""

    def __init__(self, rules: Sequence[Ready], wanted: Wanted, indexed_from: int = INDEXED_FROM) -> None:
        self.rules = tuple(rules)
        self._wanted = wanted
        counted = Counter(test.field for ready in rules for test in ready.tests if _is_enterable(test))
        worth = sum(any(_is_enterable(test) for test in ready.tests) for ready in rules) >= indexed_from
        self._fields = [name for name, _ in counted.most_common(FIELDS_MAX)] if worth else []
        self._plans: dict[int, _Plan] = {}

    def walk(self, columns: Columns, open_rows: Mask) -> Iterator[Found]:
        """What is not false, for each row in the order of the rules. Rows that are closed meanwhile are left out."""
        if not self.rules:
            return
        for plan, rows in self._plans_of(columns):
            for entry, of_entry in _candidates(plan, columns, rows):
                left = of_entry[open_rows[of_entry]]
                if not left.size:
                    if of_entry is rows:
                        break  # all rows of this plan are closed
                    continue
                codes = _evaluate(entry, columns, left)
                some = codes != FALSE
                if some.any():
                    yield Found(entry.ready, left[some], codes[some])

    def _plans_of(self, columns: Columns) -> Iterator[tuple[_Plan, Places]]:
        every = np.arange(len(columns))
        missing = np.zeros(len(columns), dtype=np.int64)
        for bit, name in enumerate(self._fields):
            missing |= columns.missing(name).astype(np.int64) << bit
        kinds = np.unique(missing).tolist()
        for kind in kinds:
            yield self._plan(kind), every if len(kinds) == 1 else np.flatnonzero(missing == kind)

    def _plan(self, missing: int) -> _Plan:
        if (plan := self._plans.get(missing)) is None:
            plan = self._plans[missing] = self._make(missing)
        return plan

    def _make(self, missing: int) -> _Plan:
        absent = {name for bit, name in enumerate(self._fields) if missing >> bit & 1}
        plan = _Plan([])
        unknown_stands = False
        met: set[tuple[frozenset[Test], bool]] = set()  # what earlier rules are left with, and whether they may hold
        for order, ready in enumerate(self.rules):
            unknown = any(test.field in absent for test in ready.tests)
            if unknown and unknown_stands:
                continue  # it cannot hold, and an earlier rule is unknown for every row
            tests = tuple(test for test in ready.tests if test.field not in absent)
            by = next((test for test in tests if test.field in self._fields and _is_enterable(test)), None)
            entry = Entry(order, ready, tuple(test for test in tests if test is not by), unknown)
            if by is not None:
                for value in by.wanted[0]:
                    plan.entered.setdefault(by.field, {}).setdefault(value, []).append(entry)
                continue
            left = frozenset(entry.tests)
            if self._wanted != "all" and ((left, True) in met or (unknown and (left, False) in met)):
                continue  # wherever it is more than false, an earlier rule is too, and goes before it
            if ready.cel is None or unknown:
                met.add((left, self._wanted == "first" or not unknown))
            plan.everywhere.append(entry)
            if not entry.is_certain or self._wanted == "all":
                continue
            if self._wanted == "first" or not unknown:
                break
            unknown_stands = True
        return plan


def ready(rule: Rule) -> Ready:
    """The rule made ready. Raises streams.cel.CelError for an expression that cannot be used."""
    tests = tuple(test_of(name, condition) for name, condition in rule.when.items())
    return Ready(rule, tests, None if rule.cel is None else Expression(rule.cel))


def evaluate(ready: Ready, columns: Columns, rows: Places) -> Codes:
    """What the rule is for these rows: all conditions together, then its expression where they hold."""
    return _evaluate(Entry(0, ready, ready.tests, False), columns, rows)


def _is_enterable(test: Test) -> bool:
    return test.is_choice and (test.field in TEXTS or test.field.startswith(ATTRIBUTE))


def _candidates(plan: _Plan, columns: Columns, rows: Places) -> list[tuple[Entry, Places]]:
    """The rules that may be more than false for some of these rows, with those rows, in the order of the rules."""
    found = [(entry, rows) for entry in plan.everywhere]
    for name, entered in plan.entered.items():
        values = columns.values(name)
        places: dict[Any, list[int]] = {}
        for row in rows.tolist():
            places.setdefault(key(values[row]), []).append(row)
        hits: dict[int, tuple[Entry, list[int]]] = {}
        for value, there in places.items():
            for entry in entered.get(value, ()):
                hits.setdefault(entry.order, (entry, []))[1].extend(there)
        found += [(entry, np.array(there if len(there) == 1 else sorted(there))) for entry, there in hits.values()]
    if plan.entered:
        found.sort(key=lambda one: one[0].order)
    return found


def _evaluate(entry: Entry, columns: Columns, rows: Places) -> Codes:
    """False as soon as one condition is false, else unknown if one is unknown, with all reasons."""
    first = MISSING if entry.unknown else HOLDS
    if len(rows) <= FEW:
        codes = np.array([_one(entry.tests, first, columns, row) for row in rows.tolist()], dtype=np.uint8)
    else:
        codes = np.full(len(rows), first, dtype=np.uint8)
        possible = np.ones(len(rows), dtype=bool)
        for test in entry.tests:
            one = test.of(columns, rows)
            possible &= one != FALSE
            codes |= one
        codes[codes & UNKNOWN != 0] &= UNKNOWN
        codes[~possible] = FALSE
    if entry.ready.cel is not None:
        for at in np.flatnonzero(codes == HOLDS).tolist():
            holds = entry.ready.cel.holds(columns, int(rows[at]))
            codes[at] = ERROR if holds is None else HOLDS if holds else FALSE
    return codes


def _one(tests: tuple[Test, ...], first: int, columns: Columns, row: int) -> int:
    code = first
    for test in tests:
        found = test.one(columns, row)
        if found == FALSE:
            return FALSE
        code |= found
    return code & UNKNOWN or HOLDS
