"""Context: the present state of the entities, by version; what a decision rests on may have changed since."""

from __future__ import annotations

from typing import Protocol


class Contexts(Protocol):
    """What the path asks about the context of the entities of one partition number."""

    def version(self, entity: str) -> int | None:
        """The present version; None where the entity has no context (any more)."""

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        """Whether one of `fields` (of its state; empty: anything) has changed after version `since`.

        Where that is not known, because older versions were never seen, the answer is yes.
        """


class _NoContext:
    def version(self, entity: str) -> int | None:
        return None

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        return True


NO_CONTEXT: Contexts = _NoContext()
