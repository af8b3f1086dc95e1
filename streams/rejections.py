"""Rejections: the record that says that another one was refused."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from schemas.common import Source
from schemas.identifiers import rejection_id
from schemas.rejection import Reason, Rejection
from streams.batch import Sent
from streams.bounds import bounded, bounded_key
from streams.foreign import text_of
from streams.headers import HeaderSettings, answer_headers
from streams.publish import carried

_encode = msgspec.json.Encoder().encode


def rejection(
    source: Source, key: bytes | None, value: bytes | None, reason: Reason, detail: str, settings: HeaderSettings
) -> Sent:
    """For `rejections`, keyed as the record at `source` was. Its id is of the place: told twice, it is the same."""
    text, coded = carried(value, reason)
    told = Rejection(
        rejection_id=rejection_id(source.topic, source.partition, source.offset),
        reason=reason,
        detail=bounded(detail),
        raw=text,
        raw_base64=coded,
        raw_sha256=sha256(value or b"").hexdigest(),
        raw_bytes=len(value or b""),
        source=source,
    )
    key = bounded_key(key)  # the entity that the record was about
    headers = answer_headers("rejections", told.rejection_id, text_of(key), None, (), settings)
    return Sent("rejections", key, _encode(told), headers)
