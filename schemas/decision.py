"""Decision: an action proposed for an entity, resting on a state of the world observed at a known time."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

from schemas.common import Attributes, Confidence, Currency, Id, Money, Source, TimeMs, Version
from schemas.reevaluation import Attempt

# On `decisions` these are refused: only Sluicegate says what a decision descends from.
LINEAGE_FIELDS = frozenset({"root_id", "attempt", "first_observed_at_ms", "final_deadline_ms", "cause"})


class Decision(Struct, frozen=True, gc=False):
    """What a producer emits on `decisions`. Fields it sends beyond these are carried, not refused.

    `id` is the producer's idempotency key: it names one decision of one entity for ever and holds no `~`. Sent again it
    is a repeat while its content is the same: workflow, entity, the action's bytes, value_minor, currency, confidence
    and attributes. Its times, and all other fields, are no content: observed or sent anew, it is no second action.
    `action` is opaque and travels byte for byte; where it is an object, its `type` names the action type. In it and in
    `attributes` no object has a key twice. The record's key is the entity, and belongs to its partition (murmur2).
    """

    id: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": "^[^~]*$"})]
    workflow: Id
    entity: Id
    action: Raw
    observed_at_ms: TimeMs
    decided_at_ms: TimeMs | None = None
    sent_at_ms: TimeMs | None = None
    confidence: Confidence | None = None
    value_minor: Money | None = None
    currency: Currency | None = None
    model: str | None = None
    proposer: str | None = None
    context_version: Version | None = None
    expires_at_ms: TimeMs | None = None
    reversible: bool | None = None
    segment: str | None = None
    attributes: Attributes | None = None


class Successor(Decision, frozen=True, kw_only=True):
    """A decision made again (re-evaluated, redriven, edited): written to `successors` by Sluicegate alone.

    `id` is `<root_id>~<attempt>`; `root_id` is the id of the first attempt, which is attempt 1. `attempts` are those
    that went before it.
    """

    id: Annotated[str, Meta(min_length=1, max_length=220)]
    root_id: Annotated[str, Meta(min_length=1, max_length=200, extra_json_schema={"pattern": "^[^~]*$"})]
    attempt: Annotated[int, Meta(ge=2, le=10**6)]
    first_observed_at_ms: TimeMs
    final_deadline_ms: TimeMs
    cause: Id
    source: Source | None = None
    caused_by: Source | None = None
    attempts: list[Attempt] = []
