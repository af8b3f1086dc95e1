"""Re-evaluation: a stale decision that is asked about again, and what an evaluator is asked and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, field

from schemas.common import Attributes, Confidence, Currency, DurationMs, Id, Money, Source, Stages, TimeMs, Version


class Attempt(Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt that came to nothing: what it rested on, when it was looked at, and why it could not stand."""

    attempt: int
    observed_at_ms: TimeMs
    gated_at_ms: TimeMs
    reason: str
    policy: str
    context_version: Version | None = None
    context_version_seen: Version | None = None


class Reevaluation(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A request to ask the evaluator again. It has exactly one answer, a successor or an exception, which names this
    record in `caused_by`. `attempts` are all that went before, the one of `decision` last.
    """

    request_id: str
    kind: Literal["disposition", "followup"]
    decision_id: str
    root_id: str
    workflow: str
    entity: str
    reason: str
    detail: str
    attempt: int
    attempts: Annotated[list[Attempt], Meta(min_length=1)]
    first_observed_at_ms: TimeMs
    final_deadline_ms: TimeMs
    gated_at_ms: TimeMs
    age_ms: DurationMs
    budget_ms: DurationMs
    stages_ms: Stages
    policy: str
    value_minor: Money | None
    currency: str | None
    segment: str | None
    decision: Raw
    caused_by: Source | None
    source: Source
    context_version_seen: Version | None = None
    clock_adjusted: list[str] = []
    time_source: Literal["broker", "producer"] = "broker"


class Context(Struct, frozen=True, kw_only=True, gc=False):
    """The present state of an entity, as its system of record says it: written to `context`, keyed by the entity."""

    entity: Id
    version: Version
    at_ms: TimeMs
    state: dict[str, Any]


class PresentContext(Struct, frozen=True, gc=False):
    """The entity's context as the evaluator is shown it."""

    version: Version
    at_ms: TimeMs
    state: Raw


class Question(Struct, frozen=True, kw_only=True, gc=False):
    """What an evaluator is asked. `id` is that of the successor that the answer becomes; asked twice, it is the same.

    An answer after `deadline_ms` comes too late. `decision` is the one that is stale; `context` is the present one of
    its entity, null where there is none.
    """

    id: str
    root_id: str
    attempt: int
    workflow: str
    entity: str
    reason: str
    deadline_ms: TimeMs
    final_deadline_ms: TimeMs
    decision: Raw
    context: PresentContext | None


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """The decision made anew: an action, and the later observation that it rests on. Or `decline`: there is none any
    more, and why. What is absent is absent from the successor too, but for `segment` and `proposer`, which stay, and
    `context_version`, which is that of the context it was shown.

    `id`, `workflow` and `entity` may be repeated, and must then be the question's.
    """

    action: Raw = field(default_factory=lambda: Raw(b"null"))
    observed_at_ms: TimeMs | None = None
    decline: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    decided_at_ms: TimeMs | None = None
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
    id: str | None = None
    workflow: str | None = None
    entity: str | None = None
