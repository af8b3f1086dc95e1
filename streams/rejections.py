"""Rejections: the record that says that another one was refused."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from schemas.common import Source
from schemas.identifiers import rejection_id
from schemas.rejection import Reason, Rejection
from streams.batch import Sent
from streams.headers import HeaderSettings, answer_headers
from streams.publish import cut

_encode = msgspec.json.Encoder().encode


def rejection(
    source: Source, key: bytes | None, value: bytes | None, reason: Reason, detail: str, settings: HeaderSettings
) -> Sent:
    """For `rejections`, keyed as the record at `source` was. Its id is of the place: told twice, it is the same."""
    text, coded = (None, None) if value is None else cut(value)
    told = Rejection(
        rejection_id=rejection_id(source.topic, source.partition, source.offset),
        reason=reason,
        detail=detail,
        raw=text,
        raw_base64=coded,
        raw_sha256=sha256(value or b"").hexdigest(),
        raw_bytes=len(value or b""),
        source=source,
    )
    headers = answer_headers("rejections", told.rejection_id, _text(key), None, (), settings)
    return Sent("rejections", key, _encode(told), headers)


def _text(key: bytes | None) -> str | None:
    """The entity that the record was about, by its key."""
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return None
