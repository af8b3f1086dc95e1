"""Rejections: who was refused, why, and the bytes, as far as they go."""

from __future__ import annotations

import hashlib
import json

import pytest

from schemas.common import RAW_BYTES_MAX, Source
from streams.headers import DEFAULTS
from streams.rejections import rejection

PLACE = Source("t.context", 2, 7)


def test_it_holds_the_place_and_the_bytes_and_its_id_is_of_the_place() -> None:
    made = rejection(PLACE, b"acct-17", b'{"version":', "invalid.json", "the value cannot be read", DEFAULTS)
    body = json.loads(made.value)
    assert body == {
        "rejection_id": "n-" + hashlib.sha256(b"rejection:t.context/2/7").hexdigest()[:32],
        "reason": "invalid.json",
        "detail": "the value cannot be read",
        "raw": '{"version":',
        "raw_sha256": hashlib.sha256(b'{"version":').hexdigest(),
        "raw_bytes": 11,
        "source": {"topic": "t.context", "partition": 2, "offset": 7},
    }
    assert (made.output, made.key) == ("rejections", b"acct-17")
    headers = dict(made.headers)
    assert (headers["ce_id"], headers["ce_subject"]) == (body["rejection_id"].encode(), b"acct-17")


def test_of_a_large_value_the_beginning_is_kept() -> None:
    body = json.loads(rejection(PLACE, b"a", b"x" * 300_000, "invalid.oversized", "too large", DEFAULTS).value)
    assert (len(body["raw"]), body["raw_bytes"]) == (RAW_BYTES_MAX, 300_000)


@pytest.mark.parametrize("key", [None, b"\xff"])
def test_a_key_that_names_nobody_makes_no_subject(key: bytes | None) -> None:
    made = rejection(PLACE, key, None, "invalid.key", "no key", DEFAULTS)
    assert "ce_subject" not in dict(made.headers)
    assert json.loads(made.value)["raw"] is None
