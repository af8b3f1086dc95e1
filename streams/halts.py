"""Halts: what is stopped by hand, in scopes. In force is the most restrictive of all that apply: one is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from schemas.published import Halt, Preapproval, Scope


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


NO_HALTS = Halts({})


class Granted(NamedTuple):
    """A pre-approval as it stands on the topic: its bytes are what was signed."""

    preapproval: Preapproval
    value: bytes
    signature: bytes | None
