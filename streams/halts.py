"""Halts: what is stopped by hand, in scopes. In force is the most restrictive of all that apply: one is enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.published import Halt, Preapproval, Scope
from streams.batch import Refused, Row
from streams.chains import action_types


class Halted(NamedTuple):
    """A halt that applies, and its scope."""

    scope: Scope
    halt: Halt

    def __str__(self) -> str:
        return f"{self.scope} is halted by {self.halt.by}: {self.halt.why}"


class Halts:
    """The halts in force, by scope. Empty in all but bad hours, so asking it costs nothing then."""

    def __init__(self, by_scope: Mapping[Scope, Halt]) -> None:
        self.by_scope = {scope: halt for scope, halt in by_scope.items() if halt.halted}

    def __bool__(self) -> bool:
        return bool(self.by_scope)

    def over(self, workflow: str, segment: str | None, model: str | None, action_type: str | None) -> Halted | None:
        """A halt that applies; of several the one with the smallest key."""
        applying = [
            scope
            for scope in self.by_scope
            if scope.workflow in (None, workflow)
            and scope.segment in (None, segment)
            and scope.model in (None, model)
            and scope.action_type in (None, action_type)
        ]
        if not applying:
            return None
        scope = min(applying, key=lambda one: one.key)
        return Halted(scope, self.by_scope[scope])

    def over_row(self, row: Row) -> Halted | None:
        """A halt that applies to a decision; every step of an action that is a chain counts."""
        decision = row.decision
        assert decision is not None
        kinds: Sequence[str | None] = (None,)
        if any(scope.action_type is not None for scope in self.by_scope):
            kinds = action_types(decision) or kinds
        found = (self.over(decision.workflow, decision.segment, decision.model, kind) for kind in kinds)
        return next(filter(None, found), None)


NO_HALTS = Halts({})


def overlapping(halts: Mapping[Scope, Halt], scope: Scope) -> list[tuple[Scope, Halt]]:
    """The halts in force that stop something that the scope is about, by key."""
    found = [
        (other, halt)
        for other, halt in halts.items()
        if halt.halted and all(None in (one, two) or one == two for one, two in zip(other, scope, strict=True))
    ]
    return sorted(found, key=lambda item: item[0].key)


def stop(rows: Iterable[Row], halts: Halts) -> None:
    """Refuses every row that a halt applies to."""
    for row in rows:
        if (halted := halts.over_row(row)) is not None:
            row.stage, row.refused = "halt", Refused("halted", str(halted))


class Granted(NamedTuple):
    """A pre-approval as it stands on the topic: its bytes are what was signed."""

    preapproval: Preapproval
    value: bytes
    signature: bytes | None
