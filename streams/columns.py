"""Columns: the fields of some decisions, one list or numpy array each, made when a rule first asks for it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.chains import Step, Subject
from streams.fields import ATTRIBUTE
from streams.superseding import action_type

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]  # of some rows, rising


class Columns:
    """The fields of `subjects`, by name. A value is None where there is none, or none that can be compared."""

    def __init__(self, subjects: Sequence[Subject]) -> None:
        self.subjects = subjects
        self._values: dict[str, list[Any]] = {}
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._numbers: dict[str, npt.NDArray[np.float64]] = {}
        self._missing: dict[str, Mask] = {}
        # what expressions keep while they are evaluated: by row what was handed over, and how much of it; by the id of
        # a record (its steps are rows of their own) how much its attributes are, and how much work it has taken
        self.handed: dict[int, Any] = {}
        self.seen: dict[int, int] = {}
        self.weights: dict[int, int] = {}
        self.spent: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.subjects)

    def values(self, field: str) -> list[Any]:
        """The field of each row."""
        if (column := self._values.get(field)) is None:
            column = self._values[field] = self._read(field)
        return column

    def array(self, field: str) -> npt.NDArray[Any]:
        """The same as an array of objects."""
        if (column := self._arrays.get(field)) is None:
            column = np.empty(len(self), dtype=object)
            column[:] = self.values(field)
            self._arrays[field] = column
        return column

    def numbers(self, field: str) -> npt.NDArray[np.float64]:
        """As doubles, NaN where there is no number. Amounts are within 2**53, so none of them is rounded."""
        if (column := self._numbers.get(field)) is None:
            values = self.values(field)
            if field.startswith(ATTRIBUTE):  # all other fields are typed
                values = [None if isinstance(value, (bool, str)) else value for value in values]
            column = self._numbers[field] = np.array(values, dtype=np.float64)  # None becomes NaN
        return column

    def missing(self, field: str) -> Mask:
        """Where there is no value."""
        if (mask := self._missing.get(field)) is None:
            mask = self._missing[field] = np.array([value is None for value in self.values(field)], dtype=bool)
        return mask

    def _read(self, field: str) -> list[Any]:
        if field == "action_type":
            return [one.action_type if type(one) is Step else action_type(bytes(one.action)) for one in self.subjects]
        if not field.startswith(ATTRIBUTE):
            return list(map(operator.attrgetter(field), self.subjects))
        name = field.removeprefix(ATTRIBUTE)
        values = [(one.attributes or {}).get(name) for one in self.subjects]
        return [value if isinstance(value, (str, int, float)) else None for value in values]
