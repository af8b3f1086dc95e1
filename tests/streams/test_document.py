"""A policy document in JSON: typed, or told what is wrong with its shape."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pytest

from streams.document import DOCUMENT_BYTES_MAX, document_of, read_document

RIGHT: dict[str, Any] = {"workflow": "w", "version": 1, "freshness": {"budget": "10s"}, "boundary": {"rules": []}}


def test_what_is_written_is_read_back_as_it_was() -> None:
    document, problems = read_document(orjson.dumps(RIGHT))
    assert document is not None and problems == []
    assert read_document(msgspec.json.encode(document)) == (document, [])


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        (None, "", "nothing"),
        (b"", "", "nothing"),
        (b"{", "", "a mistake ("),
        (b"\xff", "", "a mistake ("),
        (b"[" * 100_000, "", "a mistake ("),
        (b"[]", "", "[]"),
        (orjson.dumps({**RIGHT, "version": "1"}), "version", "'1'"),
        (orjson.dumps({**RIGHT, "colour": 1}), "", "an unknown field colour"),
        (orjson.dumps({**RIGHT, "review": {"sla": 5}}), "review.sla", "5"),
        (b" " * DOCUMENT_BYTES_MAX + b"{}", "", f"{DOCUMENT_BYTES_MAX + 2} bytes as JSON"),
    ],
)
def test_what_cannot_be_read_is_told(value: bytes | None, path: str, found: str) -> None:
    document, (problem,) = read_document(value)
    assert document is None
    assert problem.path == path and problem.found.startswith(found) and problem.expected


def test_a_document_that_grows_too_large_as_json_is_refused() -> None:
    many = [{"name": f"r{number}", "then": "block", "when": {"segment": {"equals": "s"}}} for number in range(12_000)]
    document, (problem,) = document_of({**RIGHT, "boundary": {"rules": many}})
    assert document is None and problem.found.endswith("bytes as JSON")
