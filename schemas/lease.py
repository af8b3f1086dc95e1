"""Leases of exposure limits: what a gate asks for and what the one allocator grants, both on the topic `workers`.

Keys: `demand/<partition>/<account>` and `lease/<account>/<partition>`. Totals, not steps: reading a record twice, or an
old one late, changes nothing.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.common import Id, TimeMs

Amount = Annotated[int, Meta(ge=0, description="Commands, or value in the currency's minor unit, as the limit counts.")]
AccountId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
DEMAND, LEASE = "demand/", "lease/"  # how their keys begin


class ExposureSeen(Struct, frozen=True, gc=False):
    """What a partition knew of one limit when it looked: `used` of it before this decision, of `held` in all."""

    used: Amount
    held: Amount


class Account(Struct, frozen=True, kw_only=True):
    """One limit in one window, for one combination of what it is kept by.

    `id` names it; `values` (in the order of the policy's `per`, cut at 100 characters) are for people.
    """

    id: AccountId
    workflow: Id
    limit: Id
    window_ms: Annotated[int, Meta(ge=1)]
    window_start_ms: TimeMs
    values: list[str | None] = []


class Demand(Struct, frozen=True, kw_only=True):
    """A partition number asks for more. `held`: the lease it knows of; `needed`: the least that would be of use."""

    account: Account
    partition: Annotated[int, Meta(ge=0)]
    held: Amount
    needed: Amount
    at_ms: TimeMs


class Lease(Struct, frozen=True, kw_only=True):
    """All that a partition number has been granted of an account so far, until the window ends.

    `left`: what the allocator could still grant, to whoever asks, of the limit `at_most`.
    """

    account: Account
    partition: Annotated[int, Meta(ge=0)]
    total: Amount
    left: Amount
    at_most: Amount
    at_ms: TimeMs


def demand_key(partition: int, account: str) -> str:
    return f"{DEMAND}{partition}/{account}"


def lease_key(account: str, partition: int) -> str:
    return f"{LEASE}{account}/{partition}"
