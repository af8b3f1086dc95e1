"""What stands on the topic `policies`: versions, the pointers to the current ones, halts, recalls, pre-approvals.

One partition, compacted, so the newest record of each key is kept for ever. Keys:

    policy/<workflow>@<version>                          PublishedPolicy; the same version never has other content
    current/<workflow>                                   Current
    halt/<workflow>/<segment>/<model>/<action type>      Halt; each part percent-encoded, or `*` for all
    recall/<command_id>                                  Recall
    preapproval/<id>                                     Preapproval
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote, unquote

from msgspec import Meta, Raw, Struct

from schemas.common import MONEY_MINOR_MAX, Currency, Id, PolicyVersion, TimeMs

WHY_CHARS_MAX = 1_000
Why = Annotated[str, Meta(min_length=1, max_length=WHY_CHARS_MAX, description="The reason, for whoever asks later.")]
By = Annotated[str, Meta(min_length=1, max_length=200, description="Who did it.")]
Pending = Literal["keep", "invalidate", "reevaluate"]
ANY = "*"


class PublishedPolicy(Struct, frozen=True, kw_only=True):
    """One version of a workflow's policy. `digest` is that of the document's bytes as they stand here."""

    workflow: Id
    version: PolicyVersion
    document: Raw  # a PolicyDocument
    digest: str
    by: By
    why: Why
    at_ms: TimeMs


class Move(Struct, frozen=True):
    """An earlier position of a pointer: which version was in force from `at_ms` on."""

    version: PolicyVersion
    pending: Pending
    by: By
    why: Why
    at_ms: TimeMs


class Current(Struct, frozen=True, kw_only=True):
    """Which version is in force. `pending`: what becomes of reviews that were opened under the version before.

    `before`: where the pointer stood earlier, newest first, the last 100; times of a pointer's moves only rise.
    """

    workflow: Id
    version: PolicyVersion
    pending: Pending = "keep"
    by: By
    why: Why
    at_ms: TimeMs
    before: list[Move] = []


class Halt(Struct, frozen=True):
    """Stops a scope (it is in the key) while `halted`; resumed by another record, with its reason."""

    halted: bool
    why: Why
    by: By
    at_ms: TimeMs


class Recall(Struct, frozen=True):
    """One command must not be started any more."""

    why: Why
    by: By
    at_ms: TimeMs


class Preapproval(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A person's approval given beforehand, for reviews of one workflow that come until `until_ms`.

    What is given narrows it; `value_minor_at_most` is compared with the value's magnitude, in `currency`. Signed like a
    verdict, and worth as much as a verdict of `by` would be. `revoked` ends it.
    """

    id: Id
    workflow: Id
    segment: str | None = None
    action_type: str | None = None
    entity: str | None = None
    value_minor_at_most: Annotated[int, Meta(ge=0, le=MONEY_MINOR_MAX)] | None = None
    currency: Currency | None = None
    from_ms: TimeMs
    until_ms: TimeMs
    revoked: bool = False
    by: By
    why: Why
    at_ms: TimeMs


class Scope(NamedTuple):
    """What a halt is about; None for all of that part."""

    workflow: str | None = None
    segment: str | None = None
    model: str | None = None
    action_type: str | None = None

    def __str__(self) -> str:
        said = [f"{name} {part!r}" for name, part in zip(self._fields, self, strict=True) if part is not None]
        return ", ".join(said).replace("_", " ") or "everything"

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


def policy_key(workflow: str, version: int) -> str:
    return f"policy/{quote(workflow, safe='')}@{version}"


def current_key(workflow: str) -> str:
    return f"current/{quote(workflow, safe='')}"


def recall_key(command_id: str) -> str:
    return f"recall/{quote(command_id, safe='')}"


def preapproval_key(identifier: str) -> str:
    return f"preapproval/{quote(identifier, safe='')}"
