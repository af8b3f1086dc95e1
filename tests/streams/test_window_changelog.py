"""The window's changelog: what it holds is enough for a new owner to know every id that is living."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.identifiers import root_digest
from streams.batch import Remembered, Row
from streams.ring import Change
from streams.window import Window
from tests.streams.making import (
    BUDGET_MS,
    NOW_MS,
    decided,
    decision,
    fetched,
    outcomes,
    row,
    successor,
)

ALL: dict[str, Any] = {"name": "all", "then": "autonomous"}
EXPIRY_MS = NOW_MS - 1_000 + BUDGET_MS + 2_000  # of a decision of `making`: its final deadline and the tolerance


def test_nothing_is_kept_before_the_commit() -> None:
    window = Window()
    new = _entered(window, [_row(1)])
    planned = window.plan(new, NOW_MS)
    assert (len(window), len(new.entries)) == (0, 1) and planned is not None
    window.apply(planned)
    assert len(window) == 1


def test_reads_back_what_it_wrote() -> None:
    window = Window()
    change = _committed(window, _entered(window, [_row(1), _row(2)]), NOW_MS)
    assert change is not None and change.slot == 1
    again = Window()
    again.restore([change.value], NOW_MS)
    assert outcomes(decided(fetched([decision(1), decision(3)]), window=again)) == ["duplicate.repeat", "commands"]
    late = Window()
    late.restore([change.value], EXPIRY_MS)
    assert len(late) == 0


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"", "a record of 0 bytes cannot be read"),
        (b"\x01" + bytes(8) + b"x", "a record of 10 bytes cannot be read"),
        (b"\x01" + bytes(8), "a record of format 1 cannot be read; this version writes 7"),
    ],
)
def test_a_foreign_changelog_is_refused(value: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Window().restore([value], NOW_MS)


def test_the_form_of_the_version_before_is_read() -> None:
    """29 bytes an id: its digest, until when, its content, whether it was commanded; nobody's share."""
    entry = root_digest("d-1") + EXPIRY_MS.to_bytes(8) + b"abcd" + b"\x01"
    window = Window(ids_max=2)
    window.restore([b"\x03" + (9).to_bytes(8) + entry], NOW_MS)
    assert outcomes(decided(fetched([successor("d-1")], source="successors", first_offset=70), window=window)) == [
        "duplicate.conflict"
    ]
    assert outcomes(decided(fetched([decision(1)]), window=window)) == ["duplicate.conflict"]
    decided(fetched([decision(2), decision(3), decision(4)]), window=window)
    assert (len(window), window.evicted) == (3, 1)


def _entered(window: Window, rows: list[Row], now_ms: int = NOW_MS, tolerance_ms: int = 2_000) -> Remembered:
    """What a batch of these rows adds, all of which go out as reviews."""
    new = window.recognise(rows, now_ms)
    for one in rows:
        if one.refused is None and one.digest not in new.entries:
            window.enter(new, one, now_ms, [tolerance_ms], commanded=False)
    return new


def _committed(window: Window, new: Remembered, now_ms: int) -> Change | None:
    if (planned := window.plan(new, now_ms)) is None:
        return None
    window.apply(planned)
    return planned.change


def _row(number: int, lives_ms: int = BUDGET_MS) -> Row:
    """A row as the stages before the window leave it."""
    made = row(decision(number))
    made.final_deadline_ms = NOW_MS - 1_000 + lives_ms
    return made


BATCH_MAX = 4
# Each step: some ids with the time they live, how much time passes, and whether the partition moves to a new owner.
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), max_size=BATCH_MAX),
        st.integers(0, 10),
        st.booleans(),
    ),
    max_size=30,
)
ROWS = [row(decision(number)) for number in range(31)]
DIGESTS = [made.digest for made in ROWS]


class Changelog(dict[int, bytes]):
    """A compacted topic: the newest value of each slot."""

    def owner(self, ids_max: int, slots: int, now_ms: int) -> Window:
        window = Window(ids_max, slots)
        window.restore(reversed(self.values()), now_ms)
        return window


def _remember(window: Window, ids: list[tuple[int, int]], now_ms: int) -> Remembered:
    rows = []
    for number, lives_ms in ids:
        rows.append(structs.replace(ROWS[number], final_deadline_ms=now_ms + lives_ms))
    return _entered(window, rows, now_ms, 0)


def knows(window: Window, number: int, now_ms: int) -> bool:
    return window._living(DIGESTS[number], Remembered(), now_ms) is not None


@given(STEPS, st.integers(1, 6))
def test_a_new_owner_knows_every_id_that_is_living(steps: list[Any], slots: int) -> None:
    """The promise, against a model that never forgets: few slots, few ids, time passing, owners changing."""
    changelog, now_ms = Changelog(), 1_000
    window, model = Window(slots=slots), dict[int, int]()
    for ids, passes_ms, moves in steps:
        now_ms += passes_ms
        new = _remember(window, ids, now_ms)
        for number, lives_ms in ids:
            if model.get(number, 0) <= now_ms:
                model[number] = now_ms + lives_ms
        if change := _committed(window, new, now_ms):
            assert 0 <= change.slot < slots
            changelog[change.slot] = change.value
        if moves:
            window = changelog.owner(window.ids_max, slots, now_ms)
        for owner in (window, changelog.owner(window.ids_max, slots, now_ms)):
            living = {number for number in range(31) if knows(owner, number, now_ms)}
            assert living == {number for number, expires_ms in model.items() if expires_ms > now_ms}
        assert window.evicted == 0


@given(STEPS, st.integers(1, 6), st.integers(1, 8))
def test_with_eviction_it_knows_the_youngest_and_no_fewer_than_it_may(
    steps: list[Any], slots: int, ids_max: int
) -> None:
    """Memory stays bounded; only as many living ids are unknown as were evicted; nothing dead comes back."""
    changelog, now_ms = Changelog(), 1_000
    window, born = Window(ids_max, slots), dict[int, int]()
    for ids, passes_ms, _ in steps:
        now_ms += passes_ms
        new = _remember(window, ids, now_ms)
        added = {number for number in range(31) if DIGESTS[number] in new.entries}
        for number, lives_ms in reversed(ids):
            if number in added:
                born[number] = now_ms + lives_ms
        if change := _committed(window, new, now_ms):
            changelog[change.slot] = change.value
        assert len(window) <= max(ids_max, BATCH_MAX), "bounded, whatever comes"
        restored = changelog.owner(10**6, slots, now_ms)
        for number, expires_ms in born.items():
            if knows(window, number, now_ms):
                assert expires_ms > now_ms, "the dead stay dead"
                assert knows(restored, number, now_ms), "a new owner knows what the old one knew"
            else:
                assert number not in added, "what has just come is known"
        living = [number for number, expires_ms in born.items() if expires_ms > now_ms]
        assert sum(not knows(window, number, now_ms) for number in living) <= window.evicted
