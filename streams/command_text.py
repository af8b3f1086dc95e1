"""A command as the bytes that go out.

Most decisions become commands, and half of a command is the same for every one that a rule lets through in a batch.
So only what varies is encoded for each; the rest is encoded once and appended. Field by field this is `Command`: a test
reads the bytes back into it and finds nothing missing and nothing over.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Encoder

from schemas.common import Source, Stages
from schemas.lease import ExposureSeen
from schemas.reasons import WITHIN_BOUNDS
from streams.batch import Row
from streams.policy import Policy

_encode = Encoder().encode
_CACHED_MAX = 4_096  # rules of a batch or two


class _Varies(Struct, frozen=True, omit_defaults=True, gc=False):
    command_id: str
    decision_id: str
    workflow: str
    entity: str
    action: Raw
    deadline_ms: int
    age_ms: int
    stages_ms: Stages
    value_minor: int | None
    currency: str | None
    model: str | None
    segment: str | None
    context_version_seen: int | None
    source: Source
    clock_adjusted: tuple[str, ...] = ()
    time_source: Literal["broker", "producer"] = "broker"
    exposure_seen: dict[str, ExposureSeen] | None = None


class _Same(Struct, frozen=True, gc=False):
    gated_at_ms: int
    policy: str
    rule: str
    attempt: int
    kind: str = "disposition"
    authority: str = "autonomous"
    authority_version: int = 0
    reason: str = WITHIN_BOUNDS
    review_id: str | None = None
    caused_by: Source | None = None


def command_text(row: Row, identifier: str, policy: Policy, gated_at_ms: int) -> bytes:
    """The command of a row that may run, under this `command_id`."""
    decision, fetched = row.decision, row.fetched
    assert decision is not None and row.rule is not None
    varies = _Varies(
        identifier,
        decision.id,
        decision.workflow,
        decision.entity,
        decision.action,
        row.ends_ms,
        row.age_ms,
        Stages(*row.stages),
        decision.value_minor,
        decision.currency,
        decision.model,
        decision.segment,
        row.context_seen,
        Source(fetched.topic, fetched.partition, row.offset),
        row.clock_adjusted,
        "broker" if fetched.broker_time else "producer",
        row.exposure_seen,
    )
    return _encode(varies)[:-1] + _same(gated_at_ms, policy.name, row.rule, row.attempt)


@lru_cache(_CACHED_MAX)
def _same(gated_at_ms: int, policy: str, rule: str, attempt: int) -> bytes:
    return b"," + _encode(_Same(gated_at_ms, policy, rule, attempt))[1:]
