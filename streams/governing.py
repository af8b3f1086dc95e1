"""Governing: what people change about the rulebook, as the records to be written; or why it is refused.

Each function looks at the edition that stands and says what is to be added to it: pure, so that whoever writes can ask
again when somebody else was quicker. What a reader would refuse is refused here: no record leaves but by `written`.
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
    Preapproval,
    PublishedPolicy,
    Recall,
    Scope,
    current_key,
    policy_key,
    recall_key,
)
from streams.bounds import POLICIES_KEY_BYTES_MAX
from streams.document import read_document
from streams.encoding import Unwritable, readable
from streams.errors import ConfigurationError
from streams.halts import overlapping
from streams.rulebook import Edition

MOVES_MAX = 100  # that a pointer remembers
DOCUMENT_BYTES_MAX = 512 * 1024  # a record of `policies` may have 1 MiB
Record = PublishedPolicy | Current | Halt | Recall | Preapproval


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


def written(key: str, record: Record) -> Write:
    """The record under its key. Raises ConfigurationError for one that its readers would refuse."""
    if len(key) > POLICIES_KEY_BYTES_MAX:
        raise ConfigurationError(
            f"nothing was written: its key would have {len(key)} bytes, and has at most {POLICIES_KEY_BYTES_MAX}: give "
            "shorter names"
        )
    try:
        return Write(key, readable(record))
    except Unwritable as error:
        raise ConfigurationError(f"nothing was written: {error}") from error


def document_bytes(document: PolicyDocument) -> bytes:
    """The document as it is published: the same document is always the same bytes.

    Raises ConfigurationError where whoever reads them would not find this document.
    """
    name = f"{document.workflow}@{document.version}"
    try:
        text = readable(document)
    except Unwritable as error:
        raise ConfigurationError(f"{name} cannot be published: {error}") from error
    read, problems = read_document(text)
    if read != document:
        told = "; ".join(f"{path}: found {found}, expected {expected}" for path, found, expected in problems)
        raise ConfigurationError(f"{name} cannot be published, no worker could read it: {told or 'it reads otherwise'}")
    return text


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
            writes.append(written(policy_key(document.workflow, document.version), published))
        current = edition.currents.get(document.workflow)
        if current is None or current.version != document.version:
            writes.append(_moved(edition, document.workflow, document.version, pending, signed))
    return writes


def rolled_back(
    edition: Edition,
    workflow: str,
    version: int | None,
    pending: Pending,
    signed: Signed,
    leaving: int | None = None,
) -> tuple[int, list[Write]]:
    """Points to an earlier version, by default the one before; and which it is. Raises ConfigurationError.

    `leaving`: the version that was in force when somebody decided to leave it. When another is by now, somebody else
    was quicker, and to go back from that one was nobody's wish.
    """
    current = edition.currents.get(workflow)
    if current is None:
        known = ", ".join(sorted(edition.currents)) or "none"
        raise ConfigurationError(f"no policy of the workflow {workflow!r} is in force; those that have one: {known}")
    if leaving is not None and current.version != leaving:
        raise ConfigurationError(
            f"{workflow}@{leaving} is not in force any more: {current.by} put {workflow}@{current.version} in force "
            f"meanwhile ({current.why}); look at `sluicegate policy history {workflow}`, and try again"
        )
    if version is None:
        version = version_before(current)
        if version is None:
            raise ConfigurationError(
                f"{workflow}@{current.version} is the first, or all that came before it were left: there is none to go "
                f"back to by itself. Say which with --to; there are {_versions(edition, workflow)}"
            )
    if version == current.version:
        raise ConfigurationError(f"{workflow}@{version} is in force already")
    if (workflow, version) not in edition.versions:
        raise ConfigurationError(f"{workflow}@{version} was never published; there are {_versions(edition, workflow)}")
    return version, [_moved(edition, workflow, version, pending, signed)]


def version_before(current: Current) -> int | None:
    """The version that the pointer came from, where going back undoes what it came by: one that was left by going back
    to an earlier one is not gone back to.
    """
    line: list[int] = []
    for version in [*(move.version for move in reversed(current.before)), current.version]:
        if version in line:
            del line[line.index(version) + 1 :]
        else:
            line.append(version)
    return line[-2] if len(line) > 1 else None


def _versions(edition: Edition, workflow: str) -> str:
    return ", ".join(str(one) for name, one in sorted(edition.versions) if name == workflow)


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
    return written(current_key(workflow), moved)


def halted(scope: Scope, signed: Signed) -> list[Write]:
    """Stops the scope; said again, it has the new reason."""
    return [written(scope.key, Halt(True, signed.why, signed.by, signed.at_ms))]


def resumed(edition: Edition, scope: Scope, signed: Signed) -> list[Write]:
    """Ends the halt of exactly this scope. Raises ConfigurationError where there is none.

    A halt under a key that names no scope stops everything, so it ends with the halt of everything.
    """
    there = edition.halts.get(scope)
    if there is None or not there.halted:
        others = "; ".join(sorted(str(one) for one, halt in edition.halts.items() if halt.halted)) or "nothing"
        raise ConfigurationError(f"no halt stops exactly {scope}; halted: {others}")
    ended = Halt(False, signed.why, signed.by, signed.at_ms)
    keys = [scope.key, *(edition.strange if scope == Scope() else ())]
    return [written(key, ended) for key in keys]


def still_stopped(edition: Edition, scope: Scope) -> tuple[list[str], list[str]]:
    """What stops this scope once its own halt has ended, in words: all of it, and a part of it."""
    all_of_it, part = list[str](), list[str]()
    for other, halt in overlapping(edition.halts, scope):
        if other != scope:
            whole = all(mine in (None, theirs) for mine, theirs in zip(other, scope, strict=True))
            (all_of_it if whole else part).append(f"{other}, by {halt.by}: {halt.why}")
    return all_of_it, part


def recalled(command_id: str, signed: Signed) -> list[Write]:
    """Takes one command back, as far as no executor has started it."""
    return [written(recall_key(command_id), Recall(signed.why, signed.by, signed.at_ms))]


def unknown_workflow(edition: Edition, workflow: str | None) -> str | None:
    """A sentence about a workflow that no policy in force has: a name that nothing answers to, probably misspelt."""
    if workflow is None or workflow in edition.currents:
        return None
    there = ", ".join(sorted(edition.currents)) or "none"
    return f"no policy of the workflow {workflow!r} is in force; there are: {there}"
