"""Review: a decision that a person must answer, bound to the digest of its action and ended by a deadline."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from schemas.common import DurationMs, Source, Stages, TimeMs, Version
from schemas.lease import ExposureSeen


class Review(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """A question to a person. `fresh_until_ms` is the attempt's deadline (0 if it is stale already);
    `deadline_ms` ends the review, and then `on_timeout` is what happens.

    A `followup` is the same review as it stands now, after something happened to it: it was escalated, modified, or
    approved by one of several. `decision` then holds the action under review. An `audit_sample` shows a command
    afterwards: nothing waits for the answer.
    """

    review_id: str
    kind: Literal["disposition", "followup", "audit_sample"]
    decision_id: str
    workflow: str
    entity: str
    reasons: Annotated[list[str], Meta(min_length=1)]
    queue: str
    quorum: Annotated[int, Meta(ge=1)]
    action_digest: str
    gated_at_ms: TimeMs
    fresh_until_ms: TimeMs
    escalate_at_ms: TimeMs
    deadline_ms: TimeMs
    on_timeout: Literal["reject"]
    policy: str
    rule: str | None
    age_ms: DurationMs
    stages_ms: Stages
    attempt: int
    decision: Raw
    caused_by: Source | None
    source: Source
    context_version_seen: Version | None = None
    escalated: bool = False
    approvals: list[str] = []  # who has approved it so far
    final_deadline_ms: TimeMs | None = None  # of all attempts; `deadline_ms` may be earlier
    proposer: str | None = None  # who may not approve it; also where only the CloudEvent named it
    clock_adjusted: list[str] = []
    time_source: Literal["broker", "producer"] = "broker"
    exposure_seen: dict[str, ExposureSeen] | None = None  # by the limit's name, where one was looked at
