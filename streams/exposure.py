"""Exposure: what a partition number has let run without a person, by account, and whether one more fits.

What it may use of an account is what it owns plus what it has been leased; what it has used is its own, written to the
changelog in the transaction of the commands. So nobody is asked on the path, and what a partition uses never depends on
a message that may be lost: without leases it goes on with what it owns.

Only what runs without a person counts: a command that a person approved has a person's authority.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from schemas.lease import Account, Demand, ExposureSeen
from streams.batch import Refused, Remembered, Row
from streams.exposure_terms import GRACE_MS, ExposureTerms, owned, pool, slice_of
from streams.ring import Form, Planned, Ring

ACCOUNTS_MAX = 50_000  # of one window length, per partition number: some 200 bytes each
SLOTS = 8_192
SHOWN_CHARACTERS_MAX = 100  # of a value that chooses an account, in what people read
CLOCK = "clock"  # the slot that says how far the clock has been
_ENTRY = struct.Struct(">QQ")  # expires_ms, used
_FORMAT = 5


class Held(NamedTuple):
    """What is known of a lease: all that was granted, what the allocator had left, and of which limit."""

    total: int = 0
    left: int = 1
    at_most: int = -1


class _Take(NamedTuple):
    terms: ExposureTerms
    account: bytes
    values: tuple[str | None, ...]
    amount: int
    used: int
    held: int
    lease: Held
    against: str  # why it does not fit, or nothing


class Taken(NamedTuple):
    """What a batch took: the changelog's records, by slot; what becomes of each ring, by window_ms; and until when."""

    slots: Mapping[str, bytes]
    planned: Mapping[int, Planned]
    clock_ms: int


NO_LEASES: Mapping[bytes, Held] = MappingProxyType({})


class Exposures:
    """The accounts of one partition number, of so many. `leases` is kept up by others.

    `recorded`: for a replay; what was seen when a row was decided, by the limit's name, instead of what is held now.
    """

    def __init__(self, number: int = 0, partitions: int = 1, accounts_max: int = ACCOUNTS_MAX) -> None:
        self.leases: Mapping[bytes, Held] = NO_LEASES
        self.recorded: Callable[[Row, str], ExposureSeen | None] | None = None
        self.no_room = 0  # decisions that were not let run because there were too many accounts
        self._number = number
        self._partitions = partitions
        self._accounts_max = accounts_max
        self._rings: dict[int, Ring] = {}  # by window_ms: entries of one ring end in the order in which they came
        self._clock_ms = 0

    def __len__(self) -> int:
        return sum(map(len, self._rings.values()))

    def take(self, new: Remembered, row: Row, limits: Sequence[ExposureTerms], now_ms: int) -> None:
        """Takes the row from all of its accounts, noted in `new`; or from none, and a person or nobody decides it.

        Called in the order of the input, for rows that would become a command.
        """
        decision = row.decision
        assert decision is not None
        takes, reasons = list[_Take](), dict[str, None]()
        for terms in limits:
            amount = terms.amount(decision)
            if isinstance(amount, str):
                reasons[amount] = None
            else:
                takes.append(self._look(new, row, terms, amount, now_ms))
        row.exposure_seen = {one.terms.name: ExposureSeen(one.used, one.held) for one in takes} or None
        over = [one for one in takes if one.against]
        taken = not reasons and not over
        for one in takes:
            self._ask(new, one, now_ms, taken)
            if taken:
                entry = _ENTRY.pack(one.terms.ends_ms(now_ms) + GRACE_MS, one.used + one.amount)
                new.exposure.setdefault(one.terms.window_ms, {})[one.account] = entry
                _count(new, "taken", one.terms, one.amount)
        for one in over:
            _count(new, "over", one.terms, 1)
        if blocking := next((one for one in over if one.terms.block), None):
            row.stage, row.refused = "boundary", Refused("boundary.limit", _told(blocking))
        elif not taken:
            row.review_reasons = [*reasons, *(["exposure"] if over else [])]

    def _look(self, new: Remembered, row: Row, terms: ExposureTerms, amount: int, now_ms: int) -> _Take:
        assert row.decision is not None
        values = terms.values(row.decision)
        account = terms.account(values, now_ms)
        lease = self.leases.get(account, Held())
        held = terms.at_most if terms.of_entity else owned(terms.at_most, self._number, self._partitions) + lease.total
        held = min(held, terms.at_most)
        ring = self._rings.get(terms.window_ms)
        entry = new.exposure.get(terms.window_ms, {}).get(account) or (ring.get(account) if ring is not None else None)
        used = 0 if entry is None else _ENTRY.unpack(entry)[1]
        if self.recorded is not None and (seen := self.recorded(row, terms.name)) is not None:
            held, used = seen.held, seen.used if entry is None else used
        against = ""
        if used + amount > held:
            against = f"more than the {held} {terms.unit}, of {terms.at_most} in this window, that its partition holds"
        elif now_ms < self._clock_ms - GRACE_MS:
            against = "not let run: the clock went back, and what was used in this window may be forgotten"
        elif entry is None and not self._has_room(new, terms.window_ms, now_ms):
            self.no_room += 1
            against = f"not let run: the partition has {self._accounts_max} accounts, and no room for this one"
        return _Take(terms, account, values, amount, used, held, lease, against)

    def _has_room(self, new: Remembered, window_ms: int, now_ms: int) -> bool:
        ring = self._rings.get(window_ms)
        there = len(new.exposure.get(window_ms, {})) + (0 if ring is None else len(ring))
        if there < self._accounts_max or ring is None:
            return there < self._accounts_max
        ring.expire(now_ms)
        self._clock_ms = max(self._clock_ms, now_ms)
        return len(new.exposure.get(window_ms, {})) + len(ring) < self._accounts_max

    def _ask(self, new: Remembered, one: _Take, now_ms: int, taken: bool) -> None:
        """Asks for a lease in time: once less is left than half of what would be granted."""
        terms, lease = one.terms, one.lease
        if self._partitions == 1 or terms.of_entity:
            return
        left = one.held - one.used - (one.amount if taken else 0)
        missing = max(one.used + one.amount - one.held, 0)
        room = lease.left if lease.at_most == terms.at_most else pool(terms.at_most, self._partitions)
        if max(missing, 1) > room or not (missing or left <= slice_of(room, terms.at_most, self._partitions) // 2):
            return
        asked = new.demands.get(one.account)
        new.demands[one.account] = Demand(
            account=Account(
                id=one.account.hex(),
                workflow=terms.workflow,
                limit=terms.name,
                window_ms=terms.window_ms,
                window_start_ms=terms.ends_ms(now_ms) - terms.window_ms,
                values=[value and value[:SHOWN_CHARACTERS_MAX] for value in one.values],
            ),
            partition=self._number,
            held=lease.total,
            needed=min(filter(None, (missing, asked.needed if asked else 0)), default=0),
            at_ms=now_ms,
        )

    def plan(self, new: Remembered, now_ms: int) -> Taken:
        """What was taken, to be kept by `apply` once it is committed, and the changelog's records, by slot."""
        planned, slots = dict[int, Planned](), dict[str, bytes]()
        for window_ms, entries in new.exposure.items():
            made = self._ring(window_ms).plan(entries, now_ms)
            assert made is not None
            planned[window_ms] = made
            slots[f"{window_ms}/{made.change.slot}"] = made.change.value
        clock_ms = max(self._clock_ms, now_ms)
        if slots:
            slots[CLOCK] = b"%d" % clock_ms
        return Taken(slots, planned, clock_ms)

    def apply(self, taken: Taken) -> None:
        """Keeps what was planned last."""
        for window_ms, planned in taken.planned.items():
            self._ring(window_ms).apply(planned)
        self._clock_ms = taken.clock_ms

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Raises ValueError on what it cannot read."""
        by_window: dict[int, list[bytes]] = {}
        for slot, value in changelog.items():
            if slot == CLOCK:
                self._clock_ms = int(value)
            else:
                by_window.setdefault(int(slot.partition("/")[0]), []).append(value)
        self._clock_ms = max(self._clock_ms, now_ms)  # what has ended by now is not read back
        for window_ms, values in by_window.items():
            self._ring(window_ms).restore(values, now_ms)

    def _ring(self, window_ms: int) -> Ring:
        if (ring := self._rings.get(window_ms)) is None:
            ring = self._rings[window_ms] = Ring(Form(_FORMAT, 8), self._accounts_max, SLOTS)
        return ring


def _count(new: Remembered, what: str, terms: ExposureTerms, amount: int) -> None:
    key = (what, terms.workflow, terms.name)
    new.exposed[key] = new.exposed.get(key, 0) + amount


def _told(one: _Take) -> str:
    terms = one.terms
    per = ", ".join(
        f"{name} {value!r:.{SHOWN_CHARACTERS_MAX}}" for name, value in zip(terms.per, one.values, strict=True)
    )
    return f"limit {terms.name!r}{f' for {per}' if per else ''}: {one.amount} on top of {one.used} is {one.against}"
