"""Commands and receipts of the kit are the contract's, and take fields to come."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sluicegate_kit.producer import Sent
from sluicegate_kit.progress import Progress
from sluicegate_kit.records import read_command, read_receipt, receipt_of

from schemas.generate import schema_of
from schemas.receipt import Receipt
from tests.schemas.test_generated import EXAMPLES


def command(**more: Any) -> bytes:
    return json.dumps({**EXAMPLES["command"], "field_of_next_year": [1], **more}).encode()


def test_the_contracts_command_is_read_with_its_action_as_it_came() -> None:
    found = read_command(
        command().replace(b'"lines": [1.5]', b"").replace(b'"invoice.post"', b'"invoice.post" , "n": 1.50')
    )
    assert bytes(found.action_json) == b'{"type": "invoice.post" , "n": 1.50}'
    assert found.action == {"type": "invoice.post", "n": 1.5}
    assert (found.entity, found.deadline_ms, found.value_minor) == ("acct-17", 1764000600000, 125050)


def test_a_command_may_say_little() -> None:
    least = {name: EXAMPLES["command"][name] for name in ("command_id", "workflow", "entity", "action")}
    assert read_command(json.dumps({**least, "gated_at_ms": 0, "deadline_ms": 0}).encode()).rule is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"{}",
        command(command_id=""),
        command(command_id="c 1"),
        command(command_id="c-\u00e4"),
        command(command_id="c-" + "1" * 199),
        command(deadline_ms="soon"),
        command(deadline_ms=-1),
        command(deadline_ms=10**18),
        command(entity=None),
        command(action=1)[:-5],
        command().replace(b'{"type": "invoice.post"}', b"[" * 100_000 + b"]" * 100_000),
        command().replace(b'{"type": "invoice.post"}', b'{"a": "\xff"}'),
    ],
)
def test_what_is_no_command_is_a_value_error(value: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_command(value)


def test_a_receipt_is_the_contracts() -> None:
    found = read_command(command())
    value = receipt_of(found, "executed", executor="erp-2", at_ms=9, started_at_ms=8, detail="\ud800" + "x" * 2000)
    jsonschema.Draft202012Validator(schema_of("receipt")).validate(json.loads(value))
    theirs, ours = msgspec.json.decode(value, type=Receipt), read_receipt(value)
    assert msgspec.to_builtins(theirs) == msgspec.to_builtins(ours)
    assert (ours.command_id, ours.deadline_ms, ours.status) == (found.command_id, found.deadline_ms, "executed")
    assert ours.detail == "?" + "x" * 999
    expired = json.loads(receipt_of(found, "expired", executor="e", at_ms=9, started_at_ms=None, detail=None))
    assert "started_at_ms" not in expired


any_text = st.text(st.characters(exclude_categories=[]), max_size=20) | st.just("x" * 3000)


@settings(deadline=None)
@given(entity=any_text, workflow=any_text, detail=st.none() | any_text, at_ms=st.integers(0, 253402300799999))
def test_whatever_a_command_holds_its_receipt_is_the_contracts(
    entity: str, workflow: str, detail: str | None, at_ms: int
) -> None:
    try:
        found = read_command(command(entity=entity, workflow=workflow))
    except ValueError:
        return
    value = receipt_of(found, "failed", executor="e", at_ms=at_ms, started_at_ms=at_ms, detail=detail)
    jsonschema.Draft202012Validator(schema_of("receipt")).validate(json.loads(value))
    assert msgspec.json.decode(value, type=Receipt).entity == entity
    assert len(value) < 20_000


@given(value=st.binary(max_size=60))
def test_any_bytes_are_a_command_or_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_command(value)


def test_nothing_open_is_ever_committed_over() -> None:
    progress = Progress()
    assert progress.to_commit() is None
    for offset in (5, 6, 9):  # control records take offsets
        progress.take(offset)
    assert progress.to_commit() == 5
    progress.committed(5)
    progress.done(9)
    progress.done(6)
    assert progress.to_commit() is None
    progress.done(5)
    assert progress.to_commit() == 10
    progress.committed(10)
    assert progress.to_commit() is None
    assert Sent("t", 1, 2).offset == 2
