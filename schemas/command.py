"""Command: what an executor may act on, until its deadline and not at it."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from schemas.common import DurationMs, Money, Source, Stages, TimeMs, Version
from schemas.lease import ExposureSeen


class Command(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One action that may be started while the executor's own clock reads less than `deadline_ms`.

    `command_id` is derived from the root decision: act on each once. `action` is the decision's, byte for byte.
    """

    command_id: str
    decision_id: str
    workflow: str
    entity: str
    action: Raw
    gated_at_ms: TimeMs
    deadline_ms: TimeMs
    age_ms: DurationMs
    stages_ms: Stages
    kind: Literal["disposition", "followup"]
    authority: Literal["autonomous", "reviewed"]
    authority_version: Version
    policy: str
    rule: str
    reason: str
    context_version_seen: Version | None
    attempt: int
    value_minor: Money | None
    currency: str | None
    model: str | None
    segment: str | None
    review_id: str | None
    caused_by: Source | None
    source: Source
    clock_adjusted: list[str] = []
    time_source: Literal["broker", "producer"] = "broker"
    exposure_seen: dict[str, ExposureSeen] | None = None  # by the limit's name, where one was looked at
