"""The rulebook: what the topic `policies` says, record by record, and the policies that follow from it.

Whatever stands there stops nobody: a record that cannot be read is a trouble, told in words, and what it was to replace
stays in force. A version never changes: of two records that claim to be the same one, the first holds. A pointer to a
version that cannot be used is followed back to the newest one that can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote, unquote

from schemas.published import (
    WHY_CHARS_MAX,
    Current,
    Halt,
    Preapproval,
    PublishedPolicy,
    Recall,
    Scope,
    current_key,
    policy_key,
)
from schemas.verdict import SIGNATURE_HEADER
from streams.bounds import POLICIES_KEY_BYTES_MAX, bounded_key
from streams.document import read_document
from streams.foreign import Reader, Unreadable
from streams.halts import Granted, Halts
from streams.path import Snapshot
from streams.policy import Policy, compile_policy
from streams.terms import Problem

_published = Reader(PublishedPolicy)
_current = Reader(Current)
_halt = Reader(Halt)
_recall = Reader(Recall)
_preapproval = Reader(Preapproval)
# a halt that cannot be read stops its scope; one whose scope cannot be read stops everything
TROUBLES_MAX = 1_000  # records at once that cannot be used; those beyond are passed over in silence
T = TypeVar("T")
HALT = b"halt/"
UNREADABLE = Halt(True, "a halt that this version cannot read: taken for one", "nobody known", 0)


def _halted(value: bytes) -> bool:
    found = _halt(value)
    return isinstance(found, Unreadable) or found.halted


def _of(read: Reader[T], value: bytes | None) -> T:
    """What the record holds. Raises ValueError where it is none."""
    found = read(value)
    if isinstance(found, Unreadable):
        raise ValueError(found.why)
    return found


@dataclass(frozen=True, slots=True)
class Edition:
    """The rulebook at one moment; it does not change any more."""

    next_offset: int
    versions: Mapping[tuple[str, int], PublishedPolicy]
    currents: Mapping[str, Current]
    halts: Mapping[Scope, Halt]
    recalls: Mapping[str, Recall]
    preapprovals: Mapping[str, Granted]
    troubles: Mapping[str, str]  # by the key of the record
    strange: Sequence[str] = ()  # keys of halts whose scope cannot be read; each stops everything


class Rulebook:
    """Takes the records of the topic in their order."""

    def __init__(self) -> None:
        self.next_offset = 0
        self._versions: dict[tuple[str, int], PublishedPolicy] = {}
        self._currents: dict[str, Current] = {}
        self._halts: dict[Scope, Halt] = {}
        self._strange: dict[str, Halt] = {}  # halts of no scope that can be read, by key
        self._recalls: dict[str, Recall] = {}
        self._preapprovals: dict[str, Granted] = {}
        self._troubles: dict[str, str] = {}

    def take(
        self, offset: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]] = ()
    ) -> None:
        """One record. Raises nothing: see `Edition.troubles`."""
        self.next_offset = offset + 1
        name = (bounded_key(key, POLICIES_KEY_BYTES_MAX) or b"").decode(errors="backslashreplace")
        if key is not None and len(key) > POLICIES_KEY_BYTES_MAX and key.startswith(HALT):
            name = f"halt/{name}"  # of no scope that can be read, and a halt all the same
        self._troubles.pop(name, None)
        try:
            self._take(name, value, headers)
        except ValueError as error:
            if len(self._troubles) < TROUBLES_MAX:
                self._troubles[name] = f"the record {name!r:.200} cannot be used: {error}"[:500]

    def _take(self, name: str, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> None:
        kind, _, rest = name.partition("/")
        if value is None and kind in ("policy", "current"):
            raise ValueError("it was removed, and such a record never is")
        if kind == "policy":
            self._take_version(name, _of(_published, value))
        elif kind == "current":
            moved = _of(_current, value)
            if current_key(moved.workflow) != name:
                raise ValueError(f"it is about the workflow {moved.workflow!r}")
            self._currents[moved.workflow] = moved
        elif kind == "halt":
            self._take_halt(name, value)
        elif kind == "recall":
            if value is None:
                self._recalls.pop(unquote(rest), None)
            else:
                self._recalls[unquote(rest)] = _of(_recall, value)
        elif kind == "preapproval":
            self._take_preapproval(rest, value, headers)
        elif kind != "authority" and value is not None:  # not ours to read yet
            raise ValueError("no kind of record that this version knows; a null value under its key removes it")

    def take_unread(self, through: int, why: str) -> None:
        """Records up to and with `through` that cannot be read: one may have been a halt of anything, so all is halted
        until a person resumes everything.
        """
        self.next_offset = through + 1
        everything = Scope()
        self._troubles[everything.key] = why
        told = f"{why}; resume everything when it is known what stood there"
        self._halts[everything] = Halt(True, told[:WHY_CHARS_MAX], UNREADABLE.by, 0)

    def _take_version(self, name: str, published: PublishedPolicy) -> None:
        if policy_key(published.workflow, published.version) != name:
            raise ValueError(f"it holds {published.workflow}@{published.version}")
        there = self._versions.setdefault((published.workflow, published.version), published)
        if there.digest != published.digest:
            raise ValueError("this version was published before with other content, which stays in force")

    def _take_halt(self, name: str, value: bytes | None) -> None:
        try:
            scope = Scope.of_key(name)
        except ValueError:
            self._strange.pop(name, None)
            if value is not None and _halted(value):
                self._strange[name] = UNREADABLE
                raise
            return
        if value is None:
            raise ValueError("it was removed, and a halt never is: it is resumed")
        try:
            self._halts[scope] = _of(_halt, value)
        except ValueError:
            self._halts[scope] = UNREADABLE
            raise

    def _take_preapproval(self, rest: str, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> None:
        self._preapprovals.pop(rest, None)  # one that cannot be read approves nothing
        if value is None:
            return
        granted = _of(_preapproval, value)
        if quote(granted.id, safe="") != rest:
            raise ValueError(f"it holds the pre-approval {granted.id!r}")
        self._preapprovals[rest] = Granted(granted, value, dict(headers).get(SIGNATURE_HEADER))

    @property
    def halts(self) -> Halts:
        return Halts(self._all_halts())

    def _all_halts(self) -> dict[Scope, Halt]:
        return {**self._halts, Scope(): UNREADABLE} if self._strange else dict(self._halts)

    def edition(self) -> Edition:
        """All of it as it is now."""
        return Edition(
            self.next_offset,
            MappingProxyType(dict(self._versions)),
            MappingProxyType(dict(self._currents)),
            MappingProxyType(self._all_halts()),
            MappingProxyType(dict(self._recalls)),
            MappingProxyType(dict(self._preapprovals)),
            MappingProxyType(dict(self._troubles)),
            tuple(sorted(self._strange)),
        )


class Compiler:
    """Makes snapshots of editions. A workflow keeps its index for as long as this object lives."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int], Policy | str] = {}  # or what is wrong with it
        self._indices: dict[str, int] = {}
        self._last: dict[str, int] = {}  # the version that was in force, by workflow

    def snapshot(self, edition: Edition) -> tuple[Snapshot, list[str]]:
        """The policies in force, and what could not be used, in words. Pure but for what it remembers."""
        troubles = list(edition.troubles.values())
        policies: dict[str, Policy] = {}
        for workflow, current in sorted(edition.currents.items()):
            wanted = [current.version, *(move.version for move in current.before)]
            if workflow in self._last:
                wanted.append(self._last[workflow])
            for version in wanted:
                found = self.policy(edition, workflow, version)
                if isinstance(found, Policy):
                    policies[workflow], self._last[workflow] = found, version
                    break
            else:
                version = 0
            if version != current.version:
                why = self.policy(edition, workflow, current.version)
                instead = f"{workflow}@{version} stays in force" if version else "no version of it is in force"
                troubles.append(f"{workflow}@{current.version} cannot be used here: {why}; {instead}")
        used = sorted(policies.values(), key=lambda policy: policy.index)
        assert [policy.index for policy in used] == list(range(len(used)))
        halts, granted = Halts(edition.halts), tuple(edition.preapprovals.values())
        return Snapshot(used, halts, edition.currents, granted), troubles

    def policy(self, edition: Edition, workflow: str, version: int) -> Policy | str:
        """A version, in force or not; or why it cannot be used."""
        published = edition.versions.get((workflow, version))
        if published is None:
            return "it was not published"
        if (found := self._compiled.get((workflow, version))) is None:
            found = self._compile(published)
            self._compiled[workflow, version] = found
        return found

    def _compile(self, published: PublishedPolicy) -> Policy | str:
        document, problems = read_document(bytes(published.document))
        if document is None:
            return _told(problems)
        if (document.workflow, document.version) != (published.workflow, published.version):
            return f"its document is {document.workflow}@{document.version}"
        index = self._indices.get(published.workflow, len(self._indices))
        policy, problems = compile_policy(document, index)
        if policy is None:
            return _told(problems)
        self._indices.setdefault(published.workflow, index)
        return policy


def _told(problems: Iterable[Problem]) -> str:
    return "; ".join(
        f"{path or 'the document'}: found {found}, expected {expected}" for path, found, expected in problems
    )
