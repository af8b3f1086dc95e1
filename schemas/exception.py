"""Exception (dead letter): an ending without an action taken, with everything needed to work it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from schemas.common import DurationMs, Money, Source, Stages, TimeMs, Version
from schemas.lease import ExposureSeen


class ExceptionRecord(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """Why a record did not become a command or a review. `detail` is one sentence for a person.

    Input that is not a decision: `decision` is null and `raw` holds its text (`raw_base64` where it is not
    UTF-8), cut at 64 KiB; hash and length are those of the whole value (of the empty one for a tombstone).
    """

    exception_id: str
    kind: Literal["disposition", "followup"]
    decision_id: str | None
    workflow: str | None
    entity: str | None
    reason: str
    stage: str
    detail: str
    age_ms: DurationMs | None
    budget_ms: DurationMs | None
    policy: str | None
    rule: str | None
    attempt: int | None
    first_reason: str
    fingerprint: str | None
    value_minor: Money | None
    currency: str | None
    caused_by: Source | None
    gated_at_ms: TimeMs
    deadline_ms: TimeMs | None
    final_deadline_ms: TimeMs | None
    stages_ms: Stages | None
    decision: Raw
    raw: str | None
    raw_sha256: Annotated[str, Meta(min_length=64, max_length=64)]
    raw_bytes: Annotated[int, Meta(ge=0)]
    source: Source
    trace: list[Any]
    raw_base64: str | None = None
    context_version_seen: Version | None = None
    clock_adjusted: list[str] = []
    time_source: Literal["broker", "producer"] = "broker"
    exposure_seen: dict[str, ExposureSeen] | None = None  # by the limit's name, where one was looked at
