"""Verdict: what a person says to a review. It counts only with a signature that its key may give (CONTRACT)."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct, field

from schemas.common import Currency, Id, Money, TimeMs, Version

SIGNATURE_HEADER = "sluicegate-signature"  # <key-id>:<hex of HMAC-SHA256 over the value's bytes>
NO_ACTION = b"null"


class Verdict(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`action_digest` is that of the action which the reviewer saw: a verdict fits exactly one action.

    `modify` carries the new `action`, and the value of it where it has another; a decision that is stale already needs
    a new observation with it. It is the approval of what it proposes: other reviewers then approve the new action.
    """

    review_id: Id
    verdict: Literal["approve", "reject", "modify"]
    action_digest: str
    by: Id
    at_ms: TimeMs
    note: str | None = None
    action: Raw = field(default_factory=lambda: Raw(NO_ACTION))
    value_minor: Money | None = None
    currency: Currency | None = None
    observed_at_ms: TimeMs | None = None
    context_version: Version | None = None
