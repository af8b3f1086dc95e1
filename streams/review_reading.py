"""Reading what comes: a record of `reviews`, a record of `verdicts`; or why it is neither."""

from __future__ import annotations

import re

import msgspec

from schemas.common import VALUE_BYTES_MAX, Source
from schemas.review import Review
from schemas.verdict import SIGNATURE_HEADER, Verdict
from streams.batch import Fetched
from streams.bounds import KEY_BYTES_MAX, OWN_BYTES_MAX, oversized, strange
from streams.foreign import Reader, Unreadable
from streams.headers import Came
from streams.review_life import Refusal
from streams.review_open import decision_in

_POLICY = re.compile(r".*@\d{1,19}", re.DOTALL)
SIGNATURE_BYTES_MAX = 1_024  # of a header; ours has a key's name and 64 digits
_review = Reader(Review)
_verdict = Reader(Verdict)


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """One record: its place, key, value and signature, and when the broker had it."""

    place: Source
    key: bytes | None
    value: bytes
    signature: bytes | None
    at_ms: int


class _Held(msgspec.Struct, array_like=True, frozen=True):
    record: Arrived
    review_id: str


_encode = msgspec.json.Encoder().encode
_held = Reader(_Held, again=False)


def arrived(fetched: Fetched, index: int) -> Arrived:
    """A record of a fetched batch."""
    headers = came(fetched, index)
    return Arrived(
        fetched.place(index),
        fetched.keys[index],
        fetched.values[index] or b"",
        next((value and value[:SIGNATURE_BYTES_MAX] for name, value in headers if name == SIGNATURE_HEADER), None),
        fetched.timestamps_ms[index],
    )


def came(fetched: Fetched, index: int) -> Came:
    return () if fetched.headers is None else fetched.headers[index]


def held(one: Arrived, review_id: str) -> bytes:
    """Its record in the changelog, where it waits for its review."""
    return _encode((one, review_id))


def taken_up(value: bytes) -> tuple[Arrived, str]:
    """The record, and the review that it waits for. Raises ValueError where it is none."""
    found = _held(value)
    if isinstance(found, Unreadable):
        raise ValueError(f"a verdict that is held cannot be read: {found.why}")
    return found.record, found.review_id


def review_in(value: bytes) -> Review | Refusal:
    """A review as Sluicegate itself writes it: with a decision that can be read, and a version of a policy."""
    if len(value) > OWN_BYTES_MAX:
        return Refusal("invalid.oversized", oversized(value))
    review = _review(value)
    if isinstance(review, Unreadable):
        return Refusal("invalid.schema", f"it is not a review: {review.why}"[:500])
    decision = decision_in(review)
    if isinstance(decision, Unreadable):
        return Refusal("invalid.schema", f"it is not a review: its decision cannot be read: {decision.why}"[:500])
    if (field := strange(review, decision)) is not None:
        return Refusal("invalid.schema", f"it is not a review: {field} is longer than any of ours")
    if _POLICY.fullmatch(review.policy) is None:
        return Refusal("invalid.schema", f"it is not a review: {review.policy!r:.100} names no version of a policy")
    return review


def verdict_in(one: Arrived) -> Verdict | Refusal:
    """A verdict; that its signature fits is not looked at."""
    if len(one.value) > VALUE_BYTES_MAX:
        told = f"the value has {len(one.value)} bytes; at most {VALUE_BYTES_MAX} are read"
        return Refusal("invalid.oversized", told)
    said = _verdict(one.value)
    if isinstance(said, Unreadable):
        if said.part == "schema":
            return Refusal("invalid.schema", f"it is not a verdict: {said.why}"[:500])
        return Refusal("invalid.json", f"the value cannot be read: {said.why}"[:500])
    if one.key is not None and len(one.key) > KEY_BYTES_MAX:
        return Refusal(
            "invalid.key", f"the record's key has {len(one.key)} bytes; no entity has more than {KEY_BYTES_MAX}"
        )
    return said
