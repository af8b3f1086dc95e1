"""Leases: the book of the allocator, and that all partitions together never use more than the limit, whatever is lost.

The simulation has the real accounts and the real book, and a world that loses, repeats, delays and reorders demands,
kills gates and the allocator before and after their commits, moves partitions, and turns clocks a little.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.lease import Account, Demand, Lease
from streams.batch import Remembered, Row
from streams.exposure import Exposures, Held
from streams.exposure_terms import GRACE_MS, ExposureTerms, owned, pool, slice_of
from streams.leases import Ledger
from tests.streams.exposing import terms
from tests.streams.making import NOW_MS, decision, row

HOUR_MS = 3_600_000


@given(st.integers(0, 2**53), st.integers(0, 5), st.integers(1, 64))
def test_parts_and_pool_are_the_limit_and_grow_with_it(at_most: int, more: int, partitions: int) -> None:
    def parts(limit: int) -> list[int]:
        return [owned(limit, number, partitions) for number in range(partitions)] + [pool(limit, partitions)]

    assert sum(parts(at_most)) == at_most
    assert all(part <= larger for part, larger in zip(parts(at_most), parts(at_most + more), strict=True))


def demand(held: int = 0, needed: int = 0, partition: int = 0, at_ms: int = NOW_MS, **account: Any) -> Demand:
    start_ms = at_ms // HOUR_MS * HOUR_MS
    fields = {"id": "0" * 32, "workflow": "billing", "limit": "hourly", "window_ms": HOUR_MS}
    about = Account(**{**fields, "window_start_ms": start_ms, **account})
    return Demand(account=about, partition=partition, held=held, needed=needed, at_ms=at_ms)


def ledger(at_most: int = 400, partitions: int = 4, **more: Any) -> Ledger:
    made = Ledger(partitions, **more)
    made.limits = {("billing", "hourly"): terms(count_at_most=at_most)}
    made.begin(NOW_MS)
    return made


def told(made: Ledger, asked: Demand) -> tuple[int, int, int] | None:
    answer = made.hear(asked)
    return None if answer is None else (answer.amount, answer.lease.total, answer.lease.left)


def test_a_demand_gets_a_slice_and_the_same_one_again_is_told_the_total() -> None:
    made = ledger()
    assert told(made, demand()) == (20, 20, 300)
    assert told(made, demand()) == (0, 20, 300)
    assert told(made, demand(held=20)) == (18, 38, 282)
    assert told(made, demand(held=20)) == (0, 38, 282)
    assert told(made, demand(held=99)) == (0, 38, 282)


def test_a_demand_gets_what_it_needs_or_nothing_where_that_is_not_left() -> None:
    made = ledger()
    assert told(made, demand(needed=300)) == (300, 300, 20)
    assert told(made, demand(partition=1, needed=21)) == (0, 0, 20)
    assert told(made, demand(partition=1, needed=20)) == (20, 20, 0)
    assert told(made, demand(partition=2)) == (0, 0, 0)


def test_demands_of_no_limit_no_partition_and_no_open_window_get_no_answer() -> None:
    made = ledger()
    ended, future = demand(at_ms=NOW_MS - HOUR_MS), demand(at_ms=NOW_MS + 2 * HOUR_MS)
    for asked in (demand(limit="x"), demand(workflow="x"), demand(window_ms=1), demand(partition=4), ended, future):
        assert told(made, asked) is None
    made.limits = {("billing", "hourly"): terms(count_at_most=400, per=["entity"])}
    assert told(made, demand()) is None


def test_the_book_survives_and_forgets_ended_windows_but_not_at_a_clock_that_went_back() -> None:
    made, changelog = ledger(), dict[str, bytes]()
    for account in "ab":
        assert made.hear(demand(id=account * 32)) is not None
    changelog |= made.written({"a" * 32, "b" * 32})
    heir = ledger()
    heir.restore(changelog)
    assert told(heir, demand(id="a" * 32)) == (0, 20, 300)
    later = NOW_MS + HOUR_MS + GRACE_MS
    heir.begin(later)
    assert len(heir) == 0
    assert heir.hear(demand(id="c" * 32, at_ms=later)) is not None
    changelog |= heir.written({"c" * 32})
    assert len(changelog) == 3  # a slot was used again
    behind = ledger()
    behind.restore(changelog)
    behind.begin(NOW_MS)
    assert told(behind, demand(id="a" * 32)) is None


def test_one_account_too_many_is_not_leased() -> None:
    made = ledger(accounts_max=1)
    assert told(made, demand(id="a" * 32)) is not None
    assert told(made, demand(id="b" * 32)) is None


class Simulated:
    """P gates and the allocator on an unkind world; `used` counts what was committed, by account."""

    def __init__(
        self, limit: ExposureTerms, partitions: int, seed: int, row_of: Callable[[random.Random], Row]
    ) -> None:
        self.rnd, self.limit, self.partitions, self.row_of = random.Random(seed), limit, partitions, row_of
        self.now_ms = NOW_MS // HOUR_MS * HOUR_MS + HOUR_MS // 2
        self.used: Counter[bytes] = Counter()
        self.over = 0
        self.demands: deque[bytes] = deque()
        self.leases: list[bytes] = []  # what was committed to the topic, in order
        self.gate_log: list[dict[str, bytes]] = [{} for _ in range(partitions)]
        self.book_log: dict[str, bytes] = {}
        self.gates = [self._gate(number) for number in range(partitions)]
        self.read = [0] * partitions
        self.held: list[dict[bytes, Held]] = [{} for _ in range(partitions)]
        self.book = self._book()

    def _gate(self, number: int) -> Exposures:
        made = Exposures(number, self.partitions)
        made.restore(self.gate_log[number], self.now_ms)
        return made

    def _book(self) -> Ledger:
        made = Ledger(self.partitions)
        made.restore(self.book_log)
        return made

    def decide(self, number: int, rows: int, dies: bool = False, clock_ms: int = 0) -> int:
        """A batch at one gate; how many ran."""
        gate, new, now_ms = self.gates[number], Remembered(), self.now_ms + clock_ms
        gate.leases = self.held[number]
        ran: Counter[bytes] = Counter()
        for _ in range(rows):
            one = self.row_of(self.rnd)
            one.review_reasons = one.refused = None
            gate.take(new, one, [self.limit], now_ms)
            if not one.settled:
                assert one.decision is not None
                amount = self.limit.amount(one.decision)
                assert isinstance(amount, int)
                ran[self.limit.account(self.limit.values(one.decision), now_ms)] += amount
            else:
                self.over += 1
        self.demands += map(msgspec.json.encode, new.demands.values())
        taken = gate.plan(new, now_ms)
        if dies:
            self.move(number)
            return 0
        gate.apply(taken)
        self.gate_log[number] |= taken.slots
        self.used += ran
        return sum(ran.values())

    def move(self, number: int) -> None:
        """The partition goes to another process, which reads some of the leases again, or none yet."""
        self.gates[number], self.held[number] = self._gate(number), {}
        self.read[number] = self.rnd.choice((0, len(self.leases)))

    def allocate(self, dies: bool = False) -> None:
        heard = list(self.demands)
        self.demands.clear()
        self.book.limits = {(self.limit.workflow, self.limit.name): self.limit}
        self.book.begin(self.now_ms)
        answers = [self.book.hear(msgspec.json.decode(one, type=Demand)) for one in heard]
        granted = {one.lease.account.id for one in answers if one is not None and one.amount}
        written = self.book.written(granted)
        if dies:
            self.book = self._book()
            self.demands += heard
            return
        self.book_log |= written
        self.leases += [msgspec.json.encode(one.lease) for one in answers if one is not None]

    def follow(self, number: int) -> None:
        for value in self.leases[self.read[number] :]:
            lease = msgspec.json.decode(value, type=Lease)
            account, held = bytes.fromhex(lease.account.id), self.held[number]
            if lease.partition == number and lease.total >= held.get(account, Held()).total:
                held[account] = Held(lease.total, lease.left, lease.at_most)
        self.read[number] = len(self.leases)

    def unkind(self) -> None:
        """Demands are lost, repeated and overtaken."""
        rnd, kept = self.rnd, list(self.demands)
        kept = [one for one in kept if rnd.random() > 0.2]
        kept += [one for one in kept if rnd.random() < 0.3]
        rnd.shuffle(kept)
        self.demands = deque(kept)

    def step(self) -> None:
        rnd, number = self.rnd, self.rnd.randrange(self.partitions)
        what = rnd.random()
        if what < 0.5:
            self.decide(number, rnd.randrange(1, 12), rnd.random() < 0.1, rnd.randrange(-2_000, 2_000))
        elif what < 0.7:
            self.allocate(rnd.random() < 0.2)
        elif what < 0.9:
            self.follow(number)
        elif what < 0.93:
            self.move(number)
        elif what < 0.98:
            self.unkind()
        else:
            self.now_ms += rnd.choice((1_000, HOUR_MS // 3, HOUR_MS))


SEGMENTS = [
    row(decision(n, segment=segment, value_minor=value, currency="EUR"))
    for n, (segment, value) in enumerate(
        (segment, value) for segment in ("a", "b", None) for value in (0, 1, 40, -40, 300)
    )
]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from((0, 1, 3, 17, 100, 1_000)), st.booleans())
def test_all_partitions_together_never_use_more_than_the_limit(
    seed: int, partitions: int, at_most: int, of_value: bool
) -> None:
    amount = {"value_minor_at_most": at_most, "currency": "EUR"} if of_value else {"count_at_most": at_most}
    world = Simulated(terms(**amount, per=["segment"]), partitions, seed, lambda rnd: rnd.choice(SEGMENTS))
    for _ in range(150):
        world.step()
        assert max(world.used.values(), default=0) <= at_most


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5), st.lists(st.integers(0, 120), min_size=2, max_size=4))
def test_while_a_limit_is_changed_no_more_is_used_than_the_largest(
    seed: int, partitions: int, limits: list[int]
) -> None:
    """Gates and allocator hear of a change at different times: each step has one of them, the older or the newer."""
    world = Simulated(terms(count_at_most=limits[0]), partitions, seed, lambda rnd: SEGMENTS[0])
    for _ in range(200):
        world.limit = terms(count_at_most=world.rnd.choice(limits))
        world.step()
        assert max(world.used.values(), default=0) <= max(limits)


def _used_of(at_most: int, partitions: int, weights: list[int]) -> float:
    """The share of the limit that is used where demands are answered between two batches, and load does not end."""
    world = Simulated(terms(count_at_most=at_most), partitions, 1, lambda rnd: SEGMENTS[0])
    for _ in range(40 * at_most // 10):
        (number,) = world.rnd.choices(range(partitions), weights)
        world.decide(number, 5)
        world.allocate()
        world.follow(number)
    return max(world.used.values()) / at_most


@pytest.mark.parametrize("partitions", [1, 2, 4, 16])
@pytest.mark.parametrize("at_most", [10, 1_000])
def test_an_even_load_uses_all_of_it(partitions: int, at_most: int) -> None:
    assert _used_of(at_most, partitions, [1] * partitions) == 1.0


@pytest.mark.parametrize(("partitions", "share"), [(1, 1.0), (2, 0.9), (4, 0.85), (16, 0.813)])
def test_a_load_on_one_partition_alone_uses_all_but_what_the_others_own(partitions: int, share: float) -> None:
    assert _used_of(1_000, partitions, [1] + [0] * (partitions - 1)) == share


def _kept_max(at_most: int, partitions: int) -> int:
    """What the partitions that fall silent can keep from one that goes on asking."""
    one_slice = slice_of(pool(at_most, partitions), at_most, partitions)
    return (partitions - 1) * max(owned(at_most, 0, partitions), one_slice + one_slice // 2 + 1)


def _used_in_the_end(world: Simulated, number: int) -> int:
    """What is used once this partition alone goes on, until it gets nothing more."""
    while True:
        before = sum(world.used.values())
        for _ in range(5):
            world.decide(number, 3)
            world.allocate()
            world.follow(number)
        if sum(world.used.values()) == before:
            return before


def test_partitions_that_fall_silent_keep_what_they_own_or_one_slice_and_a_half() -> None:
    """The worst for it: each of three partitions uses just so much that it is given a slice, and then nothing."""
    world = Simulated(terms(count_at_most=1_000), 4, 1, lambda rnd: SEGMENTS[0])
    for number in (1, 2, 3):
        while not world.demands:
            world.decide(number, 1)
        world.allocate()
    assert _used_in_the_end(world, 0) == 785
    assert _kept_max(1_000, 4) == 228


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 8), st.sampled_from((5, 40, 333, 1_000)))
def test_whatever_came_before_one_that_goes_on_asking_gets_all_but_that(
    seed: int, partitions: int, at_most: int
) -> None:
    world = Simulated(terms(count_at_most=at_most), partitions, seed, lambda rnd: SEGMENTS[0])
    for _ in range(world.rnd.randrange(60)):
        number = world.rnd.randrange(partitions)
        world.decide(number, world.rnd.randrange(1, 30))
        if world.rnd.random() < 0.7:
            world.allocate()
            world.follow(number)
    asking = world.rnd.randrange(partitions)
    world.follow(asking)
    assert at_most - _kept_max(at_most, partitions) <= _used_in_the_end(world, asking) <= at_most
