"""Facts: what one record of a topic says about a review. Pure; a record that says nothing about one is None.

Read leniently, only the fields that are needed: a newer program may write more. What cannot be read is left out, for
the store must not stand still over it; the topics still have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from schemas.common import Source
from schemas.identifiers import review_id
from schemas.review import Review
from schemas.verdict import SIGNATURE_HEADER, Verdict
from streams.foreign import Reader, Unreadable, text_of
from streams.signatures import signer

TOPICS = ("reviews", "verdicts", "rejections", "commands", "exceptions", "reevaluations")
Headers = Iterable[tuple[str, bytes | None]]
# what leads to a later step of a decision that is not the end of its review
_NO_ENDINGS = ("reevaluations", "receipts", "outcomes", "commands", "exceptions", "case-actions")
_REVIEW_ID = re.compile(r"r-\d{1,9}-[0-9a-f]{32}")
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Fact:
    """`answers` is partition and offset of the verdict that this record answers."""

    topic: str
    number: int
    position: int
    at_ms: int
    review_id: str | None
    answers: tuple[int, int] | None
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """One record as it was read; `topic` is its kind, `prefix` what the names of topics begin with."""

    topic: str
    prefix: str
    number: int
    position: int
    at_ms: int
    value: bytes | None
    headers: Headers = ()


class Ending(Struct, frozen=True, omit_defaults=True):
    """The end of a review, or the refusal of a verdict, as far as people look at it here."""

    id: str
    how: str
    detail: str | None = None


class Said(Struct, frozen=True):
    """A verdict as it came. `key_id` is what its signature claims."""

    verdict: Verdict
    key_id: str | None = None


class _Command(Struct):
    command_id: str
    review_id: str | None
    caused_by: Source | None = None


class _Exception(Struct):
    exception_id: str
    kind: str
    reason: str
    source: Source
    detail: str | None = None
    caused_by: Source | None = None


class _Reevaluation(Struct):
    request_id: str
    kind: str
    reason: str
    source: Source
    detail: str | None = None
    caused_by: Source | None = None


class _Rejection(Struct):
    rejection_id: str
    reason: str
    source: Source
    detail: str | None = None


def fact_of(read: Read) -> Fact | None:
    """The fact in a record of one of `TOPICS`."""
    value = read.value
    if value is None or not _may_matter(read.topic, value):
        return None
    return _READERS[read.topic](read, value)


def _may_matter(topic: str, value: bytes) -> bool:
    """Most commands and exceptions are no review's: told from the bytes, which our own encoders write."""
    if topic == "commands":
        return b'"review_id":"r-' in value
    if topic in ("exceptions", "reevaluations"):
        return b'"kind":"followup"' in value
    return topic != "rejections" or b'verdicts"' in value


def _review(read: Read, value: bytes) -> Fact | None:
    found = _decode_review(value)
    if isinstance(found, Unreadable):
        return None
    answers = _verdict_place(found.caused_by, read.prefix)
    return _fact(read, found.review_id, answers, _text(value))


def _verdict(read: Read, value: bytes) -> Fact | None:
    found = _decode_verdict(value)
    if isinstance(found, Unreadable):
        return None
    signature = next((text for name, text in read.headers if name == SIGNATURE_HEADER), None)
    return _fact(read, found.review_id, None, _text(_encode(Said(found, signer(signature)))))


def _command(read: Read, value: bytes) -> Fact | None:
    found = _decode_command(value)
    if isinstance(found, Unreadable) or found.review_id is None:
        return None
    ended = Ending(found.command_id, "approved")
    return _fact(read, found.review_id, _verdict_place(found.caused_by, read.prefix), _text(_encode(ended)))


def _exception(read: Read, value: bytes) -> Fact | None:
    found = _decode_exception(value)
    if isinstance(found, Unreadable):
        return None
    return _ended(read, found, Ending(found.exception_id, found.reason, found.detail))


def _reevaluation(read: Read, value: bytes) -> Fact | None:
    found = _decode_reevaluation(value)
    if isinstance(found, Unreadable):
        return None
    return _ended(read, found, Ending(found.request_id, "reevaluated", found.detail))


def _ended(read: Read, found: _Exception | _Reevaluation, ended: Ending) -> Fact | None:
    if found.kind != "followup" or found.caused_by is None:
        return None
    if found.caused_by.topic.removeprefix(read.prefix) in _NO_ENDINGS:
        return None
    source = found.source
    identifier = review_id(source.topic, source.partition, source.offset)
    return _fact(read, identifier, _verdict_place(found.caused_by, read.prefix), _text(_encode(ended)))


def _rejection(read: Read, value: bytes) -> Fact | None:
    found = _decode_rejection(value)
    if isinstance(found, Unreadable):
        return None
    answers = _verdict_place(found.source, read.prefix)
    if answers is None:
        return None
    ended = Ending(found.rejection_id, found.reason, found.detail)
    return _fact(read, None, answers, _text(_encode(ended)))


def _verdict_place(place: Source | None, prefix: str) -> tuple[int, int] | None:
    if place is None or place.topic != f"{prefix}verdicts" or place.partition >= 2**31 or place.offset >= 2**63:
        return None
    return place.partition, place.offset


def _text(value: bytes) -> str | None:
    # no database takes a NUL, and valid JSON has none: only inside an action that nobody has checked
    text = text_of(value)
    return None if text is None else text.replace("\x00", "\\u0000")


def _fact(read: Read, identifier: str | None, answers: tuple[int, int] | None, text: str | None) -> Fact | None:
    if text is None or (identifier is not None and _REVIEW_ID.fullmatch(identifier) is None):
        return None
    return Fact(read.topic, read.number, read.position, read.at_ms, identifier, answers, text)


_decode_review = Reader(Review, again=False)
_decode_verdict = Reader(Verdict, again=False)
_decode_command = Reader(_Command, again=False)
_decode_exception = Reader(_Exception, again=False)
_decode_reevaluation = Reader(_Reevaluation, again=False)
_decode_rejection = Reader(_Rejection, again=False)
_READERS: dict[str, Callable[[Read, bytes], Fact | None]] = {
    "reviews": _review,
    "verdicts": _verdict,
    "commands": _command,
    "exceptions": _exception,
    "reevaluations": _reevaluation,
    "rejections": _rejection,
}
