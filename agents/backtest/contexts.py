"""The context as the gate saw it, for a candidate that may look at it in another way.

An answer says which version was present. Whether what a policy looks at had changed since the decision's own version is
known from what became of it, as far as the policy in force then looked at the same fields; what follows of that for
other fields is worked out, and where nothing follows, the topic `context` is asked as it stands at that time. It is
compacted, so it may have forgotten: then nothing had changed, and the guess is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from agents.backtest.answers import Answer
from agents.backtest.batches import Event
from schemas.policy import PolicyDocument
from streams.context import ContextView
from streams.foreign import Reader, Unreadable, object_of

Fields = frozenset[str] | None
"""Of a context's state: empty for any, None for not looked at."""

# these never came so far that their context was looked at
_EARLIER = frozenset({"duplicate", "invalid", "shed"})
_LATE = frozenset({"stale.age", "stale.expired", "stale.unactionable"})
# stale for one of both: late, or on a context that had changed
_EITHER = frozenset({"stale", "reevaluation.exhausted"})


class Told(NamedTuple):
    """A record of `context`, and when the broker had it."""

    at_ms: int
    key: bytes | None
    value: bytes | None


class _Resting(msgspec.Struct, gc=False):
    context_version: int | None = None


_resting = Reader(_Resting, again=False)


class Looked(NamedTuple):
    """How a recorded policy looked at context. `drops`: what is stale always ends there and then."""

    fields: Fields
    drops: bool


def looked_at(document: PolicyDocument) -> Looked:
    """How a policy looks at context."""
    terms = document.freshness
    fields = None if terms.context is None else frozenset(() if terms.context == "any" else terms.context)
    said = {terms.on_stale, *(one.on_stale for one in terms.segments.values() if one.on_stale is not None)}
    return Looked(fields, said == {"drop"})


class RecordedContexts:
    """What the path asks about context, for one partition number.

    `looked`: what each recorded policy looked at, by its name; a policy that is not there is taken to have looked at
    what `wanted` does, the candidate's fields by workflow, wherever an answer of its says that it looked. `own`: the
    names of the candidate's policies.
    """

    def __init__(
        self,
        wanted: Mapping[str, Fields],
        looked: Mapping[str, Looked],
        own: frozenset[str] = frozenset(),
        told: Sequence[Told] = (),
    ) -> None:
        self.guessed = 0
        self._wanted = {workflow: fields for workflow, fields in wanted.items() if fields is not None}
        self._looked, self._own = looked, own
        watched = frozenset[str]().union(*self._wanted.values())
        self._view = ContextView(watched)
        self._told = iter(sorted(told, key=lambda one: one.at_ms))
        self._next = next(self._told, None)
        self._versions: dict[str, int | None] = {}
        self._known: dict[tuple[str, int], tuple[frozenset[str], bool]] = {}
        self._resting: dict[str, int] = {}

    def look(self, at_ms: int, events: Iterable[Event]) -> None:
        """Takes what is known at the time of the next batch."""
        if not self._wanted:
            return
        self._versions.clear()
        self._known.clear()
        self._resting.clear()
        while self._next is not None and self._next.at_ms <= at_ms:
            self._view.apply(self._next.key, self._next.value)
            self._next = next(self._told, None)
        for event in events:
            shape, entity = event.answer.shape, event.answer.entity
            if shape.workflow in self._wanted and entity is not None:
                self._learn(event.answer, entity, resting_on(event.record.value))

    def version(self, entity: str) -> int | None:
        """The version that was present."""
        if entity in self._versions:
            return self._versions[entity]
        known = self._view.version(entity)
        self.guessed += 1
        return self._resting.get(entity) if known is None else known

    def changed(self, entity: str, since: int, fields: frozenset[str]) -> bool:
        """As the gate found it, or as follows from that; else as the topic says."""
        present = self._versions.get(entity, since)
        if entity in self._versions and (present is None or present <= since):
            return present is None
        if not fields and entity in self._versions:
            return True
        if (known := self._known.get((entity, since))) is not None:
            looked, found = known
            if looked == fields or (found and looked and (not fields or looked <= fields)):
                return found
            if not found and (not looked or (fields and fields <= looked)):
                return False
        self.guessed += 1
        return self._view.version(entity) is not None and self._view.changed(entity, since, fields)

    def _learn(self, answer: Answer, entity: str, rests_on: int | None) -> None:
        shape = answer.shape
        family = shape.reason.partition(".")[0]
        if rests_on is not None:
            self._resting.setdefault(entity, rests_on)
        looked, drops = self._looked.get(shape.policy or "", Looked(self._wanted[shape.workflow or ""], False))
        if family in _EARLIER and answer.context_seen is None:
            return
        if looked is None or (shape.policy not in self._looked and not _shows(answer)):
            return
        self._versions[entity] = answer.context_seen
        if rests_on is None or shape.reason in _LATE:
            return
        if shape.rule is None and not drops and (shape.reason == "superseded" or family == "duplicate"):
            self._known.setdefault((entity, rests_on), (looked, True))  # or no rule matched: that is the same here
            return
        stale = shape.reason == "stale.context" or shape.reason in _EITHER
        if shape.reason in _EITHER and shape.policy not in self._own:
            self.guessed += 1  # whether it was late or its context had changed does not show
        self._known[entity, rests_on] = (looked, stale)


def _shows(answer: Answer) -> bool:
    return answer.context_seen is not None or answer.shape.reason == "stale.context"


def resting_on(value: bytes | None) -> int | None:
    """The version of the context that a decision, or the one in a CloudEvent, rests on."""
    resting = _resting(value)
    if isinstance(resting, Unreadable):
        return None
    found = resting.context_version
    if found is None and b'"specversion"' in (value or b""):
        inner: Any = (object_of(value) or {}).get("data")
        found = inner.get("context_version") if isinstance(inner, dict) else None
    return found if type(found) is int else None
