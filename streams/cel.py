"""Expressions of the Common Expression Language (CEL): what the few rules need that conditions cannot say.

Known to an expression are the fields of the decision by their names: `entity`, `workflow`, `segment`, `model`,
`proposer`, `action_type`, `currency` (text), `value_minor` and `observed_at_ms` (int), `confidence` (double),
`reversible` (bool), `attributes` (a map), `action` (as it came, read), and `decision`, a map of those of these fields
that are there, for `has(decision.segment)`. Of a chain it sees one step at a time. To look at a field that is not there
is an error, and so is all else that gives no bool; what an error means is the boundary's affair.

An expression is compiled and type-checked once. Its cost is bounded: by its length, by the library's budget of 10,000
iterations, by regular expressions that take linear time; and over all rules and steps of one record by WORK_MAX. What
an expression looks at is handed over, and `attributes.vip` hands over that one attribute; what needs all of the
attributes or the action has them converted once for a row, by the first rule that does. A record that would take more
work than it may is judged like one whose expression fails: a person decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from streams.chains import Step, Subject
from streams.columns import Columns
from streams.foreign import json_of

INSTALL = "the package cel-expr-python beside Sluicegate (the extra `cel`), or no `cel`"
_TYPES = {
    "STRING": ("workflow", "entity", "segment", "model", "proposer", "action_type", "currency"),
    "INT": ("value_minor", "observed_at_ms"),
    "DOUBLE": ("confidence",),
    "BOOL": ("reversible",),
    "DYN": ("action",),
}
NAMES = tuple(name for names in _TYPES.values() for name in names)
_WORD = re.compile(r"[A-Za-z_]\w*")
# one attribute by its name; a call on all of them is none
_ATTRIBUTES = re.compile(r"""\battributes\b(?:\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\()|\[\s*["']([^"'\\]*)["']\s*\])?""")
_DECISION = re.compile(r"\bdecision\b(?:\s*\.\s*([A-Za-z_]\w*)\b(?!\s*\())?")
_LOOP = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter|transformList|transformMap)\s*\(|[()]")
# Work is counted in bytes that are converted, about 8 us for 1,000: so a record takes about 10 ms at most. That is four
# looks at all attributes of a decision of 256 KiB, or 2,000 evaluations, such as ten rules for each step of a chain of
# 100 (whose steps are judged twice, with values of their own and with the decision's).
WORK_MAX = 1024 * 1024
EVALUATION = 500  # of one rule for one row
ITERATION = 18  # of a loop
ITERATIONS_MAX = 10_000  # the library's own bound

_encode = msgspec.json.Encoder().encode


class CelError(ValueError):
    """Raised when an expression cannot be used: `found` and `expected` say why."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")
        self.found, self.expected = found, expected


class Expression:
    """One expression, compiled. Raises CelError when it cannot be, or when the library is not installed."""

    def __init__(self, text: str) -> None:
        environment = _environment()
        try:
            self._compiled = environment.compile(text)
        except (RuntimeError, ValueError) as error:
            told = str(error).removeprefix("INVALID_ARGUMENT: ERROR: <input>:").removesuffix(" [INVALID_ARGUMENT]")
            raise CelError(f"{text!r:.80}: {' '.join(told.split())[:300]}", "an expression of CEL") from None
        kind = self._compiled.return_type().name().lower()
        if kind not in ("bool", "dyn"):
            raise CelError(f"{text!r:.80}, which gives {kind}", "an expression that gives a bool")
        words = set(_WORD.findall(text))  # some of them in texts: then more is handed over than is looked at
        self._names = [name for name in NAMES if name in words or "decision" in words]
        self._wants = words & {"attributes", "decision"}
        self._named = _named(text)
        self._takes_all = self._named is None or "action" in self._names
        self._nesting = _nesting(text)

    def holds(self, columns: Columns, row: int) -> bool | None:
        """Whether it holds for this row; None where it fails, gives no bool or would take too much work."""
        subject = columns.subjects[row]
        record = id(subject.decision if type(subject) is Step else subject)
        work = columns.spent.get(record, 0) + EVALUATION
        if work > WORK_MAX:
            return None
        data = activation = None
        if self._takes_all:
            activation, weight, new = self._all(columns, row, subject, record)
            work += new
        else:
            data, weight = self._few(columns, row, subject)
            work += weight
        if self._nesting:
            work += min(ITERATIONS_MAX, (weight // 2) ** self._nesting) * ITERATION
        columns.spent[record] = work
        if work > WORK_MAX:
            return None
        try:
            found = self._compiled.eval(activation, data).value()
        except (RuntimeError, ValueError, TypeError, OverflowError, UnicodeError, SystemError):
            return None
        return found if isinstance(found, bool) else None

    def _few(self, columns: Columns, row: int, subject: Subject) -> tuple[dict[str, Any], int]:
        """What it looks at and nothing else, and how much of that is no plain field."""
        data = {name: value for name in self._names if (value := _value(name, columns, row, subject)) is not None}
        if not self._wants:
            return data, 0
        given = subject.attributes or {}
        attributes = {name: given[name] for name in self._named or () if name in given}
        if "decision" in self._wants:
            data["decision"] = {**data, "attributes": attributes}
        data["attributes"] = attributes
        return data, sum(map(_weight, attributes.values()))

    def _all(self, columns: Columns, row: int, subject: Subject, record: int) -> tuple[Any, int, int]:
        """All there is, converted as far as some rule looks at it and kept for the next one; how much of it that is for
        this one, and how much of that for the first time.
        """
        if (activation := columns.handed.get(row)) is None:
            data = {name: value for name in NAMES if (value := _value(name, columns, row, subject)) is not None}
            attributes = subject.attributes or {}
            data |= {"attributes": attributes, "decision": {**data, "attributes": attributes}}
            activation = columns.handed[row] = _environment().Activation(data=data)
        weight = 0
        if self._named is None and (weight := columns.weights.get(record, -1)) < 0:
            weight = columns.weights[record] = _weight(subject.attributes)
        if "action" in self._names:
            weight += _weight(subject.action) if type(subject) is Step else len(memoryview(subject.action))
        seen = columns.seen.get(row, 0)
        columns.seen[row] = max(seen, weight)
        return activation, weight, max(weight - seen, 0)


def _weight(value: Any) -> int:
    """How much it is, about as many bytes as it has in JSON."""
    if isinstance(value, str):
        return len(value)
    return len(_encode(value)) if isinstance(value, (dict, list)) else 0


def _named(text: str) -> frozenset[str] | None:
    """The attributes that an expression names; None where it may look at any."""
    if any(match[1] in (None, "attributes") for match in _DECISION.finditer(text)):
        return None
    found = [match[1] or match[2] for match in _ATTRIBUTES.finditer(text)]
    return None if None in found else frozenset(found)


def _nesting(text: str) -> int:
    """How deep its loops stand within each other."""
    depth = deepest = 0
    open_loops: list[bool] = []
    for match in _LOOP.finditer(text):
        if match[0] == ")":
            if open_loops and open_loops.pop():
                depth -= 1
        else:
            is_loop = len(match[0]) > 1
            open_loops.append(is_loop)
            depth += is_loop
            deepest = max(deepest, depth)
    return deepest


def _value(name: str, columns: Columns, row: int, subject: Subject) -> Any:
    if name == "action":
        return subject.action if type(subject) is Step else json_of(memoryview(subject.action))
    if name in ("workflow", "observed_at_ms"):
        return getattr(subject.decision if type(subject) is Step else subject, name)
    return columns.values(name)[row]


_made: list[Any] = []


def _environment() -> Any:
    if not _made:
        try:
            from cel_expr_python import cel
        except ImportError:
            raise CelError("an expression of CEL, which nothing here can evaluate", INSTALL) from None
        types: dict[str, Any] = {name: getattr(cel.Type, kind) for kind, names in _TYPES.items() for name in names}
        of_anything = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        make: Callable[..., Any] = cel.NewEnv
        _made.append(make(variables={**types, "attributes": of_anything, "decision": of_anything}))
    return _made[0]
