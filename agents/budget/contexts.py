"""The context as the gate saw it when it decided, read out of its answers."""

from __future__ import annotations

from collections.abc import Iterable

from agents.budget.recording import Answer, Input
from streams.foreign import json_of


class RecordedContexts:
    """What the path asks about context, for one partition. Where no answer says what was seen, nothing had changed."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted  # the policy looks at context; else reading it again would be for nothing
        self._seen: dict[str, int] = {}
        self._changed: dict[tuple[str, int], bool] = {}

    def look(self, events: Iterable[tuple[Input, Answer]]) -> None:
        """Takes what is known of the entities of the next batch."""
        if not self._wanted:
            return
        self._changed.clear()
        for one, answer in events:
            rests_on = _context_version(one.value)
            if answer.context_seen is not None:
                self._seen[answer.entity] = answer.context_seen
            if rests_on is None:
                continue
            self._seen.setdefault(answer.entity, rests_on)
            stale = answer.reason == "stale.context"
            if stale:
                self._seen[answer.entity] = max(self._seen[answer.entity], rests_on + 1)
            if stale or not answer.reason.startswith("stale"):
                self._changed[answer.entity, rests_on] = stale

    def version(self, entity: str) -> int | None:
        """The version that was present."""
        return self._seen.get(entity)

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        """As the gate found it; where it did not look, any later version is a change."""
        return self._changed.get((entity, since), since < self._seen.get(entity, since))


def _context_version(value: bytes | None) -> int | None:
    """Of a decision, or of the one in a CloudEvent."""
    body = json_of(value)
    body = body.get("data", body) if isinstance(body, dict) and "specversion" in body else body
    found = body.get("context_version") if isinstance(body, dict) else None
    return found if type(found) is int else None
