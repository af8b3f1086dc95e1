"""Terms of an exposure limit, and how it is divided: what a partition number owns from the start, what is leased.

A window is `gated_at_ms // window_ms`. The account of a decision is its workflow, the limit, the values of `per` and
the window; the limit's amount is no part of it, so a changed amount goes on with what has been used.

A fifth of a limit is shared out among the partition numbers beforehand, so that each can begin without a message; the
rest is the pool, which the allocator leases out. Both only grow with the limit, and together they are the limit: so
while an amount is being changed, and workers differ about it, no more is used than the larger amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from schemas.decision import Decision, Successor
from schemas.policy import PolicyDocument
from streams.chains import Unknown, action_types, is_chain, worth
from streams.terms import duration_ms

OWNED_ONE_OF = 5  # of a limit, shared out beforehand
SLICES = 4  # a lease is at most so many-th of an even share of what is left in the pool
SLICES_MAX = 500  # no lease is smaller than so many-th of the limit: the last of the pool goes in few messages
GRACE_MS = 60_000  # so long after its end a window is remembered: the clocks of two owners differ by less
_CACHED_MAX = 16_384
NO_WINDOW_MS = 1

Per = Literal["segment", "action_type", "entity"]


@dataclass(frozen=True, slots=True)
class ExposureTerms:
    """One limit in force. `currency`: of a sum; None: commands are counted."""

    workflow: str
    name: str
    window_ms: int
    per: tuple[Per, ...]
    at_most: int
    currency: str | None
    block: bool

    @property
    def of_entity(self) -> bool:
        """Whether each account belongs to one entity, hence to one partition number: nothing is leased."""
        return "entity" in self.per

    @property
    def unit(self) -> str:
        return "commands" if self.currency is None else f"{self.currency} (minor unit)"

    def amount(self, decision: Decision | Successor) -> int | Unknown:
        """What the decision adds, or why that is not known."""
        if "action_type" in self.per and is_chain(decision) and len(set(action_types(decision))) > 1:
            return "field_missing"  # a chain of several types belongs to no account
        return 1 if self.currency is None else worth(decision, self.currency)

    def values(self, decision: Decision | Successor) -> tuple[str | None, ...]:
        """What of the decision chooses the account, in the order of `per`."""
        return tuple(
            [action_types(decision)[0] if one == "action_type" else getattr(decision, one) for one in self.per]
        )

    def account(self, values: tuple[str | None, ...], now_ms: int) -> bytes:
        """The account's 16 bytes, in the window of `now_ms`."""
        return _digest(
            self.workflow, self.name, self.window_ms, self.currency, self.per, values, now_ms // self.window_ms
        )

    def ends_ms(self, now_ms: int) -> int:
        """When the window of `now_ms` ends."""
        return (now_ms // self.window_ms + 1) * self.window_ms


def compile_exposure(document: PolicyDocument) -> tuple[ExposureTerms, ...]:
    """The limits of a document that has been found right."""
    return tuple(
        ExposureTerms(
            document.workflow,
            one.name,
            duration_ms(one.window) or NO_WINDOW_MS,
            tuple(one.per),
            (one.count_at_most if one.value_minor_at_most is None else one.value_minor_at_most) or 0,
            None if one.value_minor_at_most is None else one.currency,
            one.then == "block",
        )
        for one in document.boundary.exposure
    )


def owned(at_most: int, number: int, partitions: int) -> int:
    """What partition `number` of so many may use of a shared limit without a lease."""
    if partitions == 1:
        return at_most
    return (at_most // OWNED_ONE_OF + partitions - 1 - number) // partitions


def pool(at_most: int, partitions: int) -> int:
    """What can be leased of a limit: all that no partition number owns."""
    return 0 if partitions == 1 else at_most - at_most // OWNED_ONE_OF


def slice_of(left: int, at_most: int, partitions: int) -> int:
    """What a partition number is granted when `left` is in the pool, and it needs nothing in particular."""
    return min(left, max(left // (SLICES * partitions), at_most // SLICES_MAX, 1))


@lru_cache(_CACHED_MAX)
def _digest(
    workflow: str,
    name: str,
    window_ms: int,
    currency: str | None,
    per: tuple[Per, ...],
    values: tuple[str | None, ...],
    window: int,
) -> bytes:
    parts = (workflow, name, str(window_ms), currency or "", *per, *values, str(window))
    told = "\0".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
    return sha256(told.encode(errors="surrogatepass")).digest()[:16]
