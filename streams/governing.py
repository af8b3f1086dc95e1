"""Governing: what people change about the rulebook, as the records to be written; or why it is refused.

Each function looks at the edition that stands and says what is to be added to it: pure, so that whoever writes can ask
again when somebody else was quicker.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from schemas.policy import PolicyDocument
from schemas.published import (
    Current,
    Halt,
    Move,
    Pending,
    PublishedPolicy,
    Recall,
    Scope,
    current_key,
    policy_key,
    recall_key,
)
from streams.errors import ConfigurationError
from streams.rulebook import Edition

MOVES_MAX = 100  # that a pointer remembers
DOCUMENT_BYTES_MAX = 512 * 1024  # a record of `policies` may have 1 MiB
_encode = msgspec.json.Encoder(order="deterministic").encode


class Signed(NamedTuple):
    """Who does it, why and when."""

    by: str
    why: str
    at_ms: int


class Write(NamedTuple):
    """A record for the topic."""

    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def document_bytes(document: PolicyDocument) -> bytes:
    """The document as it is published: the same document is always the same bytes."""
    return _encode(document)


def digest_of(document: bytes) -> str:
    return "sha256:" + sha256(document).hexdigest()


def applied(edition: Edition, documents: Sequence[PolicyDocument], pending: Pending, signed: Signed) -> list[Write]:
    """Publishes each document, unless it is there, and points to it. Raises ConfigurationError for a version that is
    there with other content, or is not above those that are.
    """
    writes: list[Write] = []
    for document in documents:
        name, text = f"{document.workflow}@{document.version}", document_bytes(document)
        there = edition.versions.get((document.workflow, document.version))
        highest = max((version for workflow, version in edition.versions if workflow == document.workflow), default=0)
        if there is not None and there.digest != digest_of(text):
            raise ConfigurationError(
                f"{name} was published by {there.by} with other content, and a version never changes: give it the "
                f"version {highest + 1}"
            )
        if there is None and document.version < highest:
            raise ConfigurationError(f"{name} is not above {document.workflow}@{highest}: give it {highest + 1}")
        if len(text) > DOCUMENT_BYTES_MAX:
            raise ConfigurationError(f"{name} has {len(text)} bytes, and at most {DOCUMENT_BYTES_MAX} can be published")
        if there is None:
            published = PublishedPolicy(
                workflow=document.workflow,
                version=document.version,
                document=msgspec.Raw(text),
                digest=digest_of(text),
                by=signed.by,
                why=signed.why,
                at_ms=signed.at_ms,
            )
            writes.append(Write(policy_key(document.workflow, document.version), _encode(published)))
        current = edition.currents.get(document.workflow)
        if current is None or current.version != document.version:
            writes.append(_moved(edition, document.workflow, document.version, pending, signed))
    return writes


def rolled_back(
    edition: Edition, workflow: str, version: int | None, pending: Pending, signed: Signed
) -> tuple[int, list[Write]]:
    """Points to an earlier version, by default the one before; and which it is. Raises ConfigurationError."""
    current = edition.currents.get(workflow)
    if current is None:
        known = ", ".join(sorted(edition.currents)) or "none"
        raise ConfigurationError(f"no policy of the workflow {workflow!r} is in force; those that have one: {known}")
    if version is None:
        version = next((move.version for move in current.before if move.version != current.version), None)
        if version is None:
            raise ConfigurationError(f"{workflow}@{current.version} is the first: there is none to go back to")
    if version == current.version:
        raise ConfigurationError(f"{workflow}@{version} is in force already")
    if (workflow, version) not in edition.versions:
        there = ", ".join(str(one) for name, one in sorted(edition.versions) if name == workflow)
        raise ConfigurationError(f"{workflow}@{version} was never published; there are {there}")
    return version, [_moved(edition, workflow, version, pending, signed)]


def _moved(edition: Edition, workflow: str, version: int, pending: Pending, signed: Signed) -> Write:
    current, before, at_ms = edition.currents.get(workflow), list[Move](), signed.at_ms
    if current is not None:
        before = [Move(current.version, current.pending, current.by, current.why, current.at_ms), *current.before]
        at_ms = max(at_ms, current.at_ms + 1)
    moved = Current(
        workflow=workflow,
        version=version,
        pending=pending,
        by=signed.by,
        why=signed.why,
        at_ms=at_ms,
        before=before[:MOVES_MAX],
    )
    return Write(current_key(workflow), _encode(moved))


def halted(scope: Scope, signed: Signed) -> list[Write]:
    """Stops the scope; said again, it has the new reason."""
    return [Write(scope.key, _encode(Halt(True, signed.why, signed.by, signed.at_ms)))]


def resumed(edition: Edition, scope: Scope, signed: Signed) -> list[Write]:
    """Ends the halt of exactly this scope. Raises ConfigurationError where there is none."""
    there = edition.halts.get(scope)
    if there is None or not there.halted:
        others = "; ".join(sorted(str(one) for one, halt in edition.halts.items() if halt.halted)) or "nothing"
        raise ConfigurationError(f"no halt stops exactly {scope}; halted: {others}")
    return [Write(scope.key, _encode(Halt(False, signed.why, signed.by, signed.at_ms)))]


def recalled(command_id: str, signed: Signed) -> list[Write]:
    """Takes one command back, as far as no executor has started it."""
    return [Write(recall_key(command_id), _encode(Recall(signed.why, signed.by, signed.at_ms)))]
