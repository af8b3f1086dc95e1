"""What waits in a lane is taken in pieces that are decided in a bearable time, in the order in which it came."""

from __future__ import annotations

from streams.runtime.pending import FIRST_RECORDS, Pending
from streams.runtime.settings import DECIDE_S
from tests.streams.runtime.fakes import delivered


def sizes(pending: Pending, limit: int | None = None) -> list[int]:
    return [len(one.fetched) for one in pending.take(limit)]


def test_a_batch_that_took_too_long_makes_the_next_one_smaller_and_a_quick_one_larger() -> None:
    pending = Pending(2_000)
    for base in (0, 1_000, 2_000, 3_000):
        pending.put(delivered(base, *[b"x"] * 1_000))
    assert sizes(pending) == [FIRST_RECORDS]
    pending.took(FIRST_RECORDS, 0.0)
    assert sizes(pending) == [500]
    for _ in range(2):
        pending.took(500, 0.0)
    assert sizes(pending) == [250, 1_000]
    pending.took(2_000, 10 * DECIDE_S)
    assert sizes(pending) == [200]
    pending.took(200, DECIDE_S / 2)
    assert sizes(pending) == [400]
    pending.took(400, DECIDE_S / 2)
    assert sizes(pending) == [400], "the rest of a batch, and no more than fits with it"
    for _ in range(4):
        pending.took(400, 0.0)
    assert sizes(pending) == [1_000]
    assert not pending


def test_a_record_is_taken_however_long_it_takes() -> None:
    pending = Pending(2_000)
    pending.put(delivered(0, b"a", b"b"))
    pending.took(1, 1_000.0)
    assert sizes(pending) == [1]
    pending.took(1, 1_000.0)
    assert sizes(pending) == [1]


def test_what_is_put_back_is_taken_first_and_split_where_less_is_wanted() -> None:
    pending = Pending(2_000)
    pending.put(delivered(0, b"a", b"b", b"c"))
    pending.put(delivered(3, b"d"))
    pending.put_back(pending.take())
    assert [one.fetched.values for one in pending.take(2)] == [[b"a", b"b"]]
    assert [one.fetched.values for one in pending.take(2)] == [[b"c"], [b"d"]]
    assert pending.since_ms is None and not pending.full
