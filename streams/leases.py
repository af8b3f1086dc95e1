"""The allocator's book: what has been granted of each account's pool, and to which partition number.

It grants only to a demand that knows of all that its partition number was granted before; one that knows of less is
told the total again. So demands may be lost, repeated and overtaken, and no slice is granted twice. Leases are never
given back: they end with their window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from schemas.lease import Demand, Lease
from streams.exposure_terms import GRACE_MS, ExposureTerms, pool, slice_of
from streams.foreign import Reader, Unreadable

ACCOUNTS_MAX = 50_000  # alive at once; beyond it no new account is leased, and partitions keep to what they own
_CLOCK = "clock"
_ACCOUNT = "account/"


class _Kept(msgspec.Struct):
    """One account, as it stands in its slot of the changelog."""

    account: str
    ends_ms: int
    granted: dict[int, int]  # by partition number


_kept = Reader(_Kept)


class Granted(NamedTuple):
    """The answer to a demand, and how much of it is new."""

    lease: Lease
    amount: int


class Ledger:
    """What one allocator has granted. `limits`, by (workflow, name): those in force; set before each batch."""

    def __init__(self, partitions: int, accounts_max: int = ACCOUNTS_MAX) -> None:
        self.limits: Mapping[tuple[str, str], ExposureTerms] = {}
        self._partitions = partitions
        self._accounts_max = accounts_max
        self._kept: dict[str, tuple[int, _Kept]] = {}  # by account: its slot, and what stands there
        self._free: list[int] = []  # slots of accounts that have ended
        self._slots = 0
        self._clock_ms = 0  # never goes back: an account that was forgotten is not begun again

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, now_ms: int) -> None:
        """A new batch at this time: forgets the accounts whose windows ended a while ago."""
        if now_ms <= self._clock_ms:
            return
        self._clock_ms = now_ms
        for account, (slot, kept) in list(self._kept.items()):
            if kept.ends_ms + GRACE_MS <= now_ms:
                del self._kept[account]
                self._free.append(slot)

    def hear(self, demand: Demand) -> Granted | None:
        """The answer to a demand; None to one that is of no limit in force, or of no window that is open."""
        asked, number = demand.account, demand.partition
        terms = self.limits.get((asked.workflow, asked.limit))
        if terms is None or terms.of_entity or terms.window_ms != asked.window_ms or number >= self._partitions:
            return None
        ends_ms = asked.window_start_ms + asked.window_ms
        if ends_ms <= self._clock_ms or asked.window_start_ms > self._clock_ms + GRACE_MS:
            return None
        _, kept = self._kept.get(asked.id, (0, None))
        if kept is None:
            if len(self._kept) >= self._accounts_max:
                return None
            kept = self._open(asked.id, ends_ms)
        total = kept.granted.get(number, 0)
        left = max(pool(terms.at_most, self._partitions) - sum(kept.granted.values()), 0)
        amount = 0
        if demand.held == total and demand.needed <= left:
            amount = min(left, max(slice_of(left, terms.at_most, self._partitions), demand.needed))
            kept.granted[number] = total = total + amount
        lease = Lease(
            account=asked,
            partition=number,
            total=total,
            left=left - amount,
            at_most=terms.at_most,
            at_ms=self._clock_ms,
        )
        return Granted(lease, amount)

    def _open(self, account: str, ends_ms: int) -> _Kept:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._slots = self._slots, self._slots + 1
        kept = _Kept(account, ends_ms, {})
        self._kept[account] = (slot, kept)
        return kept

    def written(self, accounts: set[str]) -> dict[str, bytes]:
        """The changelog's records of these accounts, by slot; to be called once for each batch that granted."""
        slots = {}
        for account in accounts:
            slot, kept = self._kept[account]
            slots[f"{_ACCOUNT}{slot}"] = msgspec.json.encode(kept)
        if slots:
            slots[_CLOCK] = b"%d" % self._clock_ms
        return slots

    def restore(self, changelog: Mapping[str, bytes]) -> None:
        """Takes over what an earlier allocator committed. Raises ValueError on what it cannot read."""
        for slot, value in changelog.items():
            if slot == _CLOCK:
                self._clock_ms = int(value)
            elif slot.startswith(_ACCOUNT):
                number = int(slot.removeprefix(_ACCOUNT))
                self._slots = max(self._slots, number + 1)
                kept = _kept(value)
                if isinstance(kept, Unreadable):
                    raise ValueError(f"the account in {slot} cannot be read: {kept.why}")
                self._kept[kept.account] = (number, kept)
        taken = {slot for slot, _ in self._kept.values()}
        self._free = [slot for slot in range(self._slots) if slot not in taken]
