"""What a partition number remembers of its reviews, and how it comes back from the changelog.

open/<review_id>   an open review; taken away when it ends
held/<offset>      a verdict that came before its review was read
ended/<slot>       a ring of the reviews that have ended, so that a late answer is told from a wrong one
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from hashlib import sha256
from heapq import heapify, heappop, heappush

from schemas.topics import RETENTION_MS
from streams.review_life import due_ms
from streams.review_open import Open, packed, unpacked
from streams.review_reading import Arrived, held, taken_up
from streams.ring import Form, Ring

OPEN, HELD, ENDED = "open/", "held/", "ended/"
OPEN_MAX = 20_000  # people do not get through more in a week
OPEN_BYTES_MAX = 256 * 1024 * 1024  # a review may hold 256 KiB, and the count alone bounds nothing
HELD_MAX = 20_000  # after an outage all answers may be fetched before the reviews that they are about
HELD_BYTES_MAX = 64 * 1024 * 1024
ENDED_MAX = 100_000
_FORMAT = 6
_ENTRY = struct.Struct(">QB8s")  # expires_ms, state, of the action's digest


class State(IntEnum):
    """What became of a review that is not open."""

    ENDED = 1
    SAMPLE = 2  # shown afterwards; nothing waits for the answer, but one is taken
    ANSWERED = 3  # a sample that has its answer


class ReviewMemory:
    """Changed in place, batch by batch; what was not committed is thrown away with the whole of it."""

    def __init__(self, open_max: int = OPEN_MAX, open_bytes_max: int = OPEN_BYTES_MAX) -> None:
        self.open: dict[str, Open] = {}
        self._held: dict[int, tuple[Arrived, str, int]] = {}  # by offset: it, its review, since when; oldest first
        self._held_of: dict[str, list[int]] = {}  # offsets, by review
        self._held_bytes = 0
        self._open_max, self._bytes_max = open_max, open_bytes_max
        self._sizes: dict[str, int] = {}
        self._bytes = 0
        self._by_entity: dict[tuple[str, str], set[str]] = {}
        self._timers: list[tuple[int, str]] = []  # also of reviews that have ended since
        self._ring = Ring(Form(_FORMAT, _ENTRY.size - 8), ENDED_MAX)
        self._new: dict[bytes, bytes] = {}
        self._changes: dict[str, bytes | None] = {}

    @property
    def is_full(self) -> bool:
        return len(self.open) >= self._open_max or self._bytes >= self._bytes_max

    def restore(self, changelog: Mapping[str, bytes], now_ms: int) -> None:
        """Takes over what an earlier owner committed. Raises ValueError on what it cannot read."""
        for slot, value in changelog.items():
            if slot.startswith(OPEN):
                self._put(unpacked(value), len(value))
            elif slot.startswith(HELD):
                self._hold(*taken_up(value), now_ms)
        self._ring.restore((value for slot, value in changelog.items() if slot.startswith(ENDED)), now_ms)

    def keep(self, one: Open) -> None:
        """Opens a review, or has it stand as it does now."""
        value = packed(one)
        self._changes[OPEN + one.review.review_id] = value
        self._put(one, len(value))

    def _put(self, one: Open, size: int) -> None:
        review = one.review
        self._bytes += size - self._sizes.get(review.review_id, 0)
        self._sizes[review.review_id] = size
        self.open[review.review_id] = one
        self._by_entity.setdefault((review.workflow, review.entity), set()).add(review.review_id)
        heappush(self._timers, (due_ms(review), review.review_id))

    def close(self, one: Open, now_ms: int) -> None:
        """It has ended; also one that was never kept."""
        review = one.review
        self.note(review.review_id, State.ENDED, review.action_digest, now_ms)
        if self.open.pop(review.review_id, None) is None:
            return
        self._bytes -= self._sizes.pop(review.review_id)
        self._changes[OPEN + review.review_id] = None
        same = self._by_entity[review.workflow, review.entity]
        same.discard(review.review_id)
        if not same:
            del self._by_entity[review.workflow, review.entity]
        if len(self._timers) > 2 * len(self.open) + 1_000:
            self._timers = [(due_ms(at.review), name) for name, at in self.open.items()]
            heapify(self._timers)

    def of_entity(self, workflow: str, entity: str) -> list[Open]:
        """The open reviews of an entity, in the order of their ids."""
        return [self.open[name] for name in sorted(self._by_entity.get((workflow, entity), ()))]

    def due(self, now_ms: int) -> Iterator[Open]:
        """The open reviews whose time has come. What is done with one moves its timer, or ends it."""
        while self._timers and self._timers[0][0] <= now_ms:
            at_ms, name = heappop(self._timers)
            one = self.open.get(name)
            if one is not None and due_ms(one.review) == at_ms:
                yield one

    @property
    def next_due_ms(self) -> int | None:
        """When the first of them is due, at the earliest."""
        return self._timers[0][0] if self._timers else None

    def note(self, review_id: str, state: State, action_digest: str, now_ms: int) -> None:
        """Remembers for a week what became of a review."""
        about = sha256(action_digest.encode()).digest()[:8]
        self._new[_digest(review_id)] = _ENTRY.pack(now_ms + RETENTION_MS, state, about)

    def state(self, review_id: str) -> State | None:
        """What became of it; None where it is open, or not known."""
        entry = self._entry(review_id)
        return None if entry is None else State(_ENTRY.unpack(entry)[1])

    def is_of(self, review_id: str, action_digest: str) -> bool:
        """Whether that was the action."""
        entry = self._entry(review_id)
        return entry is not None and _ENTRY.unpack(entry)[2] == sha256(action_digest.encode()).digest()[:8]

    def _entry(self, review_id: str) -> bytes | None:
        digest = _digest(review_id)
        return self._new.get(digest) or self._ring.get(digest)

    def hold(self, one: Arrived, review_id: str, now_ms: int) -> bool:
        """Keeps a verdict until its review comes; False: there is no room."""
        if len(self._held) >= HELD_MAX or self._held_bytes >= HELD_BYTES_MAX:
            return False
        self._changes[f"{HELD}{one.place.offset}"] = held(one, review_id)
        self._hold(one, review_id, now_ms)
        return True

    def _hold(self, one: Arrived, review_id: str, now_ms: int) -> None:
        self._held[one.place.offset] = one, review_id, now_ms
        self._held_of.setdefault(review_id, []).append(one.place.offset)
        self._held_bytes += len(one.value)

    def let_go_of(self, review_id: str) -> list[Arrived]:
        """The verdicts that were held for a review, in the order in which they came; held no longer."""
        return [self._let_go(offset) for offset in sorted(self._held_of.get(review_id, ()))]

    def let_go_before(self, ms: int) -> list[Arrived]:
        """The verdicts that have been held since `ms` or longer; held no longer."""
        gone = []
        for offset, (_, _, since_ms) in self._held.items():
            if since_ms > ms:
                break
            gone.append(offset)
        return [self._let_go(offset) for offset in gone]

    def _let_go(self, offset: int) -> Arrived:
        one, review_id, _ = self._held.pop(offset)
        same = self._held_of[review_id]
        same.remove(offset)
        if not same:
            del self._held_of[review_id]
        self._held_bytes -= len(one.value)
        self._changes[f"{HELD}{offset}"] = None
        return one

    @property
    def held_since_ms(self) -> int | None:
        """Since when the verdict has been held that is held longest."""
        return next((since_ms for _, _, since_ms in self._held.values()), None)

    @property
    def held_to_ms(self) -> int | None:
        """When the broker had the last of the verdicts that are held."""
        return max((one.at_ms for one, _, _ in self._held.values()), default=None)

    def take_changes(self, now_ms: int) -> dict[str, bytes | None]:
        """Slot -> value since the last time, for the transaction; None takes a slot away."""
        changes, self._changes = self._changes, {}
        if (change := self._ring.commit(self._new, now_ms)) is not None:
            changes[f"{ENDED}{change.slot}"] = change.value
        self._new = {}
        return changes


def _digest(review_id: str) -> bytes:
    return sha256(review_id.encode()).digest()[:16]
