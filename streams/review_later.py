"""Commands that went before an open review although their decision was observed later: they retire it.

One partition number's commands are followed as they are issued. What is kept is the latest observation by workflow,
entity and action type: a review that was opened before it is superseded, one that would be opened after it never is
(the gate has looked). So the order in which commands and reviews are read does not matter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from msgspec import Raw, Struct

from schemas.common import Source
from schemas.review import Review
from streams.bounds import NAME_CHARS_MAX
from streams.foreign import Reader, Unreadable
from streams.review_open import decision_of, kind_of_action
from streams.superseding import action_type

ENTITIES_MAX = 100_000  # (workflow, entity, action type) per partition number; the oldest are forgotten first


class _Command(Struct, gc=False):
    command_id: str
    workflow: str
    entity: str
    action: Raw
    gated_at_ms: int
    age_ms: int


_command = Reader(_Command, again=False)


class Later(NamedTuple):
    """A decision that went after a review was opened. `how`: what became of it, for people."""

    observed_at_ms: int
    place: Source
    how: str


class Commanded:
    """`workflows` are those whose policy supersedes; commands of others are passed over."""

    def __init__(self, workflows: frozenset[str] = frozenset(), entities_max: int = ENTITIES_MAX) -> None:
        self._workflows, self._entities_max = workflows, entities_max
        self._latest: OrderedDict[tuple[str, str, str | None], Later] = OrderedDict()
        self.changed: set[tuple[str, str]] = set()  # workflow and entity, since it was last emptied

    def __len__(self) -> int:
        return len(self._latest)

    def take(self, place: Source, value: bytes | None) -> None:
        """A record of `commands`. Raises nothing: what is no command retires nothing."""
        command = _command(value)
        if isinstance(command, Unreadable) or command.workflow not in self._workflows:
            return
        kind = action_type(command.action)
        key = (command.workflow, command.entity[:NAME_CHARS_MAX], kind and kind[:NAME_CHARS_MAX])
        observed_ms = command.gated_at_ms - command.age_ms
        known = self._latest.get(key)
        if known is not None and known.observed_at_ms >= observed_ms:
            return
        self._latest[key] = Later(observed_ms, place, f"became the command {command.command_id:.100}")
        self._latest.move_to_end(key)
        self.changed.add(key[:2])
        if len(self._latest) > self._entities_max:
            self._latest.popitem(last=False)

    def later(self, review: Review) -> Later | None:
        """The command that retires this review, if there is one."""
        if not self._latest:
            return None
        decision = decision_of(review)
        found = self._latest.get((review.workflow, review.entity, kind_of_action(decision)))
        return found if found is not None and found.observed_at_ms > decision.observed_at_ms else None


NOTHING_COMMANDED = Commanded()
