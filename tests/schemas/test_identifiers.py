"""Identifiers are those of CONTRACT.md: fixed values, computed with sha256sum from the contract's words."""

from __future__ import annotations

from hashlib import sha256

from schemas.identifiers import action_digest, command_id, exception_id, review_id, root_digest


def test_a_command_id_is_the_roots() -> None:
    assert command_id(root_digest("d-1")) == "c-" + sha256(b"sluicegate:d-1").hexdigest()[:32]
    assert command_id(root_digest("d-1")) == "c-db35af24b3c66c3456b330250b9d4530"
    assert command_id(root_digest("é")) == "c-" + sha256(b"sluicegate:\xc3\xa9").hexdigest()[:32]


def test_a_review_id_names_the_partition_and_hashes_the_source() -> None:
    assert review_id("sluicegate.decisions", 2, 9917) == "r-2-ad2b7e40b8a038782655d467c458cb7d"


def test_an_exception_id_hashes_the_source_and_the_reason() -> None:
    assert exception_id("sluicegate.decisions", 2, 9917, "stale.age") == "x-f852dc956e89507029657ed8808b8147"
    assert exception_id("sluicegate.decisions", 2, 9917, "stale.expired") != exception_id(
        "sluicegate.decisions", 2, 9917, "stale.age"
    )


def test_the_action_digest_is_of_its_bytes() -> None:
    assert action_digest(b"{}") == "sha256:" + sha256(b"{}").hexdigest()
    assert action_digest(b"{ }") != action_digest(b"{}")
