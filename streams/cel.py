"""Expressions of the Common Expression Language (CEL): what the few rules need that conditions cannot say.

Known to an expression are the fields of the decision by their names: `entity`, `workflow`, `segment`, `model`,
`proposer`, `action_type`, `currency` (text), `value_minor` and `observed_at_ms` (int), `confidence` (double),
`reversible` (bool), `attributes` (a map), `action` (as it came, read), and `decision`, a map of those of these fields
that are there, for `has(decision.segment)`. Of a chain it sees one step at a time. To look at a field that is not there
is an error, and so is all else that gives no bool; what an error means is the boundary's affair.

An expression is compiled and type-checked once. Its cost is bounded: by its length, by the library's budget of 10,000
iterations, and by regular expressions that take linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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
        except RuntimeError as error:
            told = str(error).removeprefix("INVALID_ARGUMENT: ERROR: <input>:").removesuffix(" [INVALID_ARGUMENT]")
            raise CelError(f"{text!r:.80}: {' '.join(told.split())[:300]}", "an expression of CEL") from None
        kind = self._compiled.return_type().name().lower()
        if kind not in ("bool", "dyn"):
            raise CelError(f"{text!r:.80}, which gives {kind}", "an expression that gives a bool")
        words = set(_WORD.findall(text))  # some of them in texts: then more is handed over than is looked at
        self._names = [name for name in NAMES if name in words or "decision" in words]
        self._wants = words & {"attributes", "decision"}

    def holds(self, columns: Columns, row: int) -> bool | None:
        """Whether it holds for this row; None where it fails or gives no bool."""
        subject = columns.subjects[row]
        data = {name: value for name in self._names if (value := _value(name, columns, row, subject)) is not None}
        if self._wants:
            attributes = subject.attributes or {}
            if "decision" in self._wants:
                data["decision"] = {**data, "attributes": attributes}
            data["attributes"] = attributes
        try:
            found = self._compiled.eval(data=data).value()
        except (RuntimeError, ValueError, TypeError, OverflowError, UnicodeError, SystemError):
            return None
        return found if isinstance(found, bool) else None


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
