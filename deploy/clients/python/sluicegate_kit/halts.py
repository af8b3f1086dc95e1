"""What is halted or recalled by hand: what the records of `policies` say to an executor. Pure.

In force is the most restrictive of all that apply, so one halt is enough. A record with a halt's key that cannot be
read stops its scope, and everything if the key cannot be read either: somebody wanted something to stop. It holds until
a record with the same key says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct

from sluicegate_kit.decoding import decoded
from sluicegate_kit.records import Command

log = logging.getLogger("sluicegate_kit")

ANY = "*"
Why = Annotated[str, Meta(min_length=1, max_length=1000)]
By = Annotated[str, Meta(min_length=1, max_length=200)]


class Halt(Struct, frozen=True):
    """Stops a scope while `halted`; `at_ms` are epoch milliseconds."""

    halted: bool
    why: Why
    by: By
    at_ms: int


class Recall(Struct, frozen=True):
    """One command must not be started any more; `at_ms` are epoch milliseconds."""

    why: Why
    by: By
    at_ms: int


class Scope(NamedTuple):
    """What a halt is about; None for all of that part."""

    workflow: str | None = None
    segment: str | None = None
    model: str | None = None
    action_type: str | None = None

    def __str__(self) -> str:
        said = [
            f"{name.replace('_', ' ')} {part!r}"
            for name, part in zip(self._fields, self, strict=True)
            if part is not None
        ]
        return ", ".join(said) or "everything"

    @property
    def key(self) -> str:
        """The key of its record."""
        return "halt/" + "/".join(ANY if part is None else quote(part, safe="") or "%" for part in self)

    @classmethod
    def of_key(cls, key: str) -> Scope:
        """Reads the key back. Raises ValueError for one that is no halt's."""
        kind, *parts = key.split("/")
        if kind != "halt" or len(parts) != len(cls._fields) or "" in parts:
            raise ValueError(f"{key!r:.200} is not halt/<workflow>/<segment>/<model>/<action type>")
        return cls(*[None if part == ANY else "" if part == "%" else unquote(part, errors="strict") for part in parts])

    def holds(self, command: Command, kinds: Sequence[str]) -> bool:
        """Whether the command is within it; `kinds` are the types of its action's steps."""
        return (
            self.workflow in (None, command.workflow)
            and self.segment in (None, command.segment)
            and self.model in (None, command.model)
            and (self.action_type is None or self.action_type in kinds)
        )


_halts = msgspec.json.Decoder(Halt)
_recalls = msgspec.json.Decoder(Recall)
NOBODY = "nobody known"
NOT_READ = "the halt cannot be read by this version, and so it is taken for one"
RECALL_NOT_READ = "the recall cannot be read by this version, and so it is taken for one"


class Halts:
    """Takes the records of `policies` in their order, on one thread; asked from any."""

    def __init__(self) -> None:
        self._by_key: dict[Scope | str, Halt] = {}  # by the key itself where that cannot be read
        self._in_force: tuple[tuple[Scope, Halt], ...] = ()  # replaced, never changed
        self._asks_kind = False
        self._recalled: dict[str, Recall] = {}
        self.troubles: dict[str, str] = {}  # by key, what could not be read

    def take(self, key: bytes | None, value: bytes | None) -> bool:
        """Whether the record is a halt or a recall, readable or not. Raises nothing."""
        name = (key or b"").decode(errors="backslashreplace")
        kind, _, rest = name.partition("/")
        if kind == "halt":
            self._take_halt(name, value)
        elif kind == "recall":
            self._take_recall(name, unquote(rest), value)
        else:
            return False
        return True

    def take_unreadable(self, why: str) -> None:
        """Records that cannot be read may have been halts, of anything: all is halted until a person resumes all."""
        everything = Scope()
        self._tell(everything.key, why)
        self._by_key[everything] = Halt(True, f"{why}; resume everything when it is known what stood there", NOBODY, 0)
        self._changed()

    def over(self, command: Command) -> str | None:
        """A sentence saying who halted or recalled it and why; of several halts the one with the smallest key."""
        if (recall := self._recalled.get(command.command_id)) is not None:
            return f"recalled by {recall.by}: {recall.why}"
        if not (in_force := self._in_force):
            return None
        kinds = _kinds(command.action) if self._asks_kind else ()
        for scope, halt in in_force:
            if scope.holds(command, kinds):
                return f"{scope} is halted by {halt.by}: {halt.why}"
        return None

    def _take_halt(self, name: str, value: bytes | None) -> None:
        place: Scope | str
        try:
            place, problem = Scope.of_key(name), None
        except ValueError as error:
            place, problem = name, str(error)
        try:
            if value is None and problem is None:
                self._tell(name, "it was removed, which a halt never is: what stood before stays in force")
                return
            halt = Halt(False, "", "", 0) if value is None else decoded(_halts, value)
            problem = problem if halt.halted else None
        except ValueError as error:
            halt, problem = Halt(True, NOT_READ, NOBODY, 0), problem or str(error)
        if problem is None:
            self.troubles.pop(name, None)
        else:
            self._tell(name, problem)
        self._by_key[place] = halt
        self._changed()

    def _take_recall(self, name: str, command_id: str, value: bytes | None) -> None:
        self.troubles.pop(name, None)
        if value is None:
            self._recalled.pop(command_id, None)
            return
        try:
            self._recalled[command_id] = decoded(_recalls, value)
        except ValueError as error:
            self._recalled[command_id] = Recall(RECALL_NOT_READ, NOBODY, 0)
            self._tell(name, str(error))

    def _tell(self, name: str, problem: str) -> None:
        told = f"the record {name!r:.200} cannot be read: {problem}"[:500]
        if self.troubles.get(name) != told:
            self.troubles[name] = told
            log.error("%s", told)

    def _changed(self) -> None:
        found = [
            (place if isinstance(place, Scope) else Scope(), halt)
            for place, halt in self._by_key.items()
            if halt.halted
        ]
        found.sort(key=lambda one: one[0].key)
        # what is asked first is set last: a command that meets the new scopes also has its kinds looked at
        self._asks_kind = self._asks_kind or any(scope.action_type is not None for scope, _ in found)
        self._in_force = tuple(found)


def _kinds(action: Any) -> list[str]:
    """The `type` of an action that is an object, or of each step of one that is an array of them."""
    steps = action if isinstance(action, list) else [action]
    kinds = [step.get("type") for step in steps if isinstance(step, dict)]
    return [kind for kind in kinds if isinstance(kind, str)]
