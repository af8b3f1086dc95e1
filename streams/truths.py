"""How far a partition was read: three who claim to know it, held against each other. Pure.

The group's offset and the changelog's are written in one transaction, so they are equal; the log begins where retention
has left it. Whoever else commits for the group, makes a topic again or adds partitions makes them differ. Then nothing
is read: to guess would skip inputs, or decide them twice.

The changelog also says which cluster, which topics (by the broker's own id of each) and how many partitions its offsets
are of, and which group wrote them. The fence is by role, not by group: so a group of another name that takes over goes
on where the last one ended, and what its own offsets say from earlier is old.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from streams.foreign import Reader, Unreadable

IDENTITY = "identity"  # the changelog's slot
OFFSETS = "offsets/"  # likewise, by input: the next offset to read


class Apart(Exception):
    """Raised when the truths differ: the lane reads nothing until somebody says which one holds.

    The message is for a person: what differs, where, and what to do.
    """


class TopicIdentity(msgspec.Struct, frozen=True):
    """A topic as the broker knows it. `id` is None where the broker gives topics none (before Kafka 2.8)."""

    id: str | None
    partitions: int


class Identity(msgspec.Struct, frozen=True):
    """What the offsets of a partition number are offsets of, by input."""

    cluster: str
    group: str
    topics: dict[str, TopicIdentity]


class Place(NamedTuple):
    """One partition of an input, and what the lane calls itself, for the sentences."""

    role: str
    group: str
    prefix: str
    input: str
    number: int

    @property
    def topic(self) -> str:
        return self.prefix + self.input

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Told(NamedTuple):
    """What each of the three says of one partition; None: nothing."""

    committed: int | None
    kept: int | None  # in the changelog
    start: int
    end: int


_encode = msgspec.json.Encoder().encode
_read = Reader(Identity)


def written(identity: Identity, positions: Mapping[str, int]) -> dict[str, bytes]:
    """The changelog's slots that say how far was read, and of what."""
    return {IDENTITY: _encode(identity)} | {f"{OFFSETS}{name}": b"%d" % at for name, at in positions.items()}


def identity_in(changelog: Mapping[str, bytes]) -> Identity | None:
    """What the changelog's offsets are of; None where an earlier version wrote it. Raises ValueError."""
    if (value := changelog.get(IDENTITY)) is None:
        return None
    found = _read(value)
    if isinstance(found, Unreadable):
        raise ValueError(f"the slot {IDENTITY} holds no identity: {found.why}")
    return found


def kept_in(changelog: Mapping[str, bytes], name: str) -> int | None:
    """The changelog's offset of an input. Raises ValueError."""
    value = changelog.get(OFFSETS + name)
    return None if value is None else int(value)


def must_be_same(now: Identity, then: Identity | None, place: Place) -> None:
    """Raises Apart when what the changelog's offsets are of is not what is there now. `place`: any of the inputs'."""
    if then is None:
        return
    anew = (
        f"Use another --prefix, or delete all topics with {place.prefix} and make them anew (runbook worker.md, "
        '"A topic was made again")'
    )
    if then.cluster != now.cluster:
        raise Apart(
            f"{place.prefix}state was written on the cluster {then.cluster}, and this is {now.cluster}: its offsets "
            f"mean nothing here. {anew}"
        )
    for name, was in then.topics.items():
        found = now.topics.get(name)
        if found is None:
            continue
        if was.id is not None and found.id is not None and was.id != found.id:
            raise Apart(
                f"the topic {place.prefix}{name} was made again: its id was {was.id} and is {found.id}. What is there "
                f"has the offsets of what was answered before. {anew}"
            )
        if was.partitions != found.partitions:
            raise Apart(
                f"the topic {place.prefix}{name} had {_partitions(was.partitions)} and has {found.partitions}: keys "
                "have moved to other partitions, away from what is remembered and counted of them. Use another "
                '--prefix (runbook worker.md, "The count of partitions was raised")'
            )


def position(place: Place, told: Told, same_group: bool) -> int:
    """The next offset to read. `same_group`: the changelog was written last by a worker of this group.

    Nothing known: the log's start. A group that was empty for a week has lost its offsets: the changelog's. An offset
    before the log's start is right all the same: what lies between was removed, and that has to be told. Raises Apart.
    """
    committed = told.committed if same_group else None
    if committed is None and told.kept is None:
        return told.start
    if told.kept is None and committed != told.start:
        raise Apart(
            f"{place}: the group {place.group} has committed offset {committed}, and {place.prefix}state remembers "
            f"nothing of it: that topic was emptied or made again, or somebody else commits for this group. "
            f"{_accept(place, 'group', 'reads on there, without what was remembered')}"
        )
    if told.kept is not None and committed is not None and committed != told.kept:
        raise Apart(
            f"{place}: the group {place.group} has committed offset {committed}, the changelog in {place.prefix}state "
            f"says {told.kept}. They are written in one transaction, so somebody else has committed for this group. "
            f"{_accept(place, 'changelog', 'reads on where the worker had come to')}"
        )
    at = told.kept if told.kept is not None else told.start
    if at > told.end:
        raise Apart(cut_short(str(place), at))
    return at


def cut_short(place: str, at: int) -> str:
    """The sentence for a log that ends before what was read of it."""
    return (
        f"{place} ends before offset {at}, up to which it was read: the broker has lost the end of its log (an "
        "unclean leader was elected, a disk was put back), or the topic was made again. Use another --prefix (runbook "
        'worker.md, "A topic was made again")'
    )


def _accept(place: Place, truth: str, what: str) -> str:
    return (
        f"`sluicegate offsets accept {truth} --role {place.role} --prefix {place.prefix}` {what} (runbook worker.md, "
        '"Offset and changelog differ")'
    )


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count} partitions"
