"""Reading what comes: a record of `reviews`, a record of `verdicts`; or why it is neither."""

from __future__ import annotations

import msgspec
import orjson

from schemas.common import VALUE_BYTES_MAX, Source
from schemas.review import Review
from schemas.verdict import SIGNATURE_HEADER, Verdict
from streams.batch import Fetched
from streams.headers import Came
from streams.review_life import Refusal

_review = msgspec.json.Decoder(Review).decode
_verdict = msgspec.json.Decoder(Verdict).decode


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """One record: its place, key, value and signature, and when the broker had it."""

    place: Source
    key: bytes | None
    value: bytes
    signature: bytes | None
    at_ms: int


_encode = msgspec.json.Encoder().encode
_held = msgspec.json.Decoder(tuple[Arrived, str]).decode


def arrived(fetched: Fetched, index: int) -> Arrived:
    """A record of a fetched batch."""
    headers = came(fetched, index)
    return Arrived(
        fetched.place(index),
        fetched.keys[index],
        fetched.values[index] or b"",
        next((value for name, value in headers if name == SIGNATURE_HEADER), None),
        fetched.timestamps_ms[index],
    )


def came(fetched: Fetched, index: int) -> Came:
    return () if fetched.headers is None else fetched.headers[index]


def held(one: Arrived, review_id: str) -> bytes:
    """Its record in the changelog, where it waits for its review."""
    return _encode((one, review_id))


def taken_up(value: bytes) -> tuple[Arrived, str]:
    """The record, and the review that it waits for. Raises ValueError where it is none."""
    return _held(value)


def review_in(value: bytes) -> Review | Refusal:
    """A review as Sluicegate itself writes it."""
    try:
        return _review(value)
    except (ValueError, RecursionError) as error:
        return Refusal("invalid.schema", f"it is not a review: {error}"[:500])


def verdict_in(one: Arrived) -> Verdict | Refusal:
    """A verdict; that its signature fits is not looked at."""
    if len(one.value) > VALUE_BYTES_MAX:
        told = f"the value has {len(one.value)} bytes; at most {VALUE_BYTES_MAX} are read"
        return Refusal("invalid.oversized", told)
    try:
        orjson.loads(one.value)  # as strictly as its readers will, also where msgspec skips
        said: Verdict = _verdict(one.value)
    except msgspec.ValidationError as error:
        return Refusal("invalid.schema", f"it is not a verdict: {error}"[:500])
    except (ValueError, RecursionError) as error:
        return Refusal("invalid.json", f"the value cannot be read: {error}"[:500])
    return said
