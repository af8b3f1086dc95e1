"""Finds every record about a decision by reading topics whole: there is no index but the identifiers themselves.

A record is looked at only if its bytes hold one of the identifiers, so a million records take seconds. An id that says
its partition, or that was found in one, narrows what comes after to that partition number: outputs stay on their
input's. Reads read_committed and joins no group.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition

from agents.audit.inputs import Place as Partition
from agents.audit.read import Reach, admin, consumer, offsets, partition_counts, read, within
from agents.why.found import KINDS, Found, Place, root_of, text_of
from agents.why.skim import skimming
from schemas.identifiers import command_id, root_digest
from schemas.verdict import SIGNATURE_HEADER
from streams.errors import CheckFailed, ConfigurationError
from streams.foreign import object_of
from streams.signatures import signer

Progress = Callable[[str, int, int], None]
LOST, LOST_MAX = "lost.removed", 5
PATH = ("decisions", "successors", "commands", "reviews", "reevaluations", "exceptions")
ESCAPE = b"\\u"
AFTER = ("verdicts", "receipts", "outcomes", "policies")
_FORMS = {
    "reviews": ("review_id", re.compile(r"r-(\d+)-[0-9a-f]{32}")),
    "reevaluations": ("request_id", re.compile(r"q-(\d+)-[0-9a-f]{32}")),
    "commands": ("command_id", re.compile(r"c-()[0-9a-f]{32}")),
    "exceptions": ("exception_id", re.compile(r"x-()[0-9a-f]{32}")),
}


@dataclass(frozen=True)
class Scope:
    """Where to look, and since when (epoch milliseconds of the broker)."""

    bootstrap: str
    prefix: str
    since_ms: int = 0


async def gather(scope: Scope, identifier: str, progress: Progress) -> list[Found]:
    """The records about the decision that this id belongs to: its own, a command's, a review's or an exception's.

    `progress` hears what is read, the offsets passed, and of how many. Raises CheckFailed where nothing is found,
    ConfigurationError where there are no such topics, BrokerUnreachable.
    """
    reach = Reach(scope.bootstrap)
    async with admin(reach) as asker, consumer(reach, "read_committed") as client:
        counts = await partition_counts(asker, reach, [scope.prefix + kind for kind in KINDS])
        if f"{scope.prefix}decisions" not in counts:
            raise ConfigurationError(
                f"there is no topic {scope.prefix}decisions at {scope.bootstrap}: name the right prefix with --prefix, "
                "or create the topics with `sluicegate topics apply`"
            )
        search = Search(client, reach, scope, counts, progress)
        named = await _named(search, identifier)
        roots = {root for one in named if (root := root_of(one))} or (set() if named else {identifier.split("~")[0]})
        found = {one.place: one for one in named}
        numbers = {one.number for one in named} or None
        if roots:
            found |= await search.texts(PATH, roots, numbers, lambda one: root_of(one) in roots)
        if not found:
            raise CheckFailed(_nothing(scope, identifier) + await _lost(search))
        await _inputs(search, found)
        await _after(search, found, roots)
        return list(found.values())


async def _named(search: Search, identifier: str) -> list[Found]:
    """The records that carry the id as their own, where it has the form of one that Sluicegate gives."""
    for kind, (name, form) in _FORMS.items():
        if (match := form.fullmatch(identifier)) is not None:
            numbers = {int(match[1])} if match[1] else None
            found = await search.texts((kind,), [identifier], numbers, _with(name, identifier))
            return list(found.values())
    return []


def _with(name: str, identifier: str) -> Callable[[Found], bool]:
    return lambda one: one.body.get(name) == identifier


async def _inputs(search: Search, found: dict[Place, Found]) -> None:
    """The inputs that outputs name and that their id did not show: spelt otherwise, or not decisions at all."""
    missing = {place for one in list(found.values()) if (place := one.named("source")) and place not in found}
    found |= await search.places(missing)


async def _after(search: Search, found: dict[Place, Found], roots: set[str]) -> None:
    """What people, executors and systems of record said."""
    commands = {command_id(root_digest(root)) for root in roots}
    reviews = {told for one in found.values() if (told := text_of(one.body, "review_id"))}
    ids, numbers = commands | reviews, {one.number for one in found.values()}

    def theirs(one: Found) -> bool:
        if one.kind == "policies":
            return (one.key or "").removeprefix("recall/") in commands
        name = "review_id" if one.kind == "verdicts" else "command_id"
        return one.body.get(name) in ids or (one.kind == "outcomes" and root_of(one) in roots)

    said = await search.texts(("verdicts", "receipts"), ids, numbers, theirs)
    said |= await search.texts(("outcomes", "policies"), ids | roots, None, theirs)
    found |= said
    if said:
        refused = await search.texts(("rejections",), None, numbers, lambda one: one.named("source") in said)
        found |= refused


class Search:
    """Reads partitions from where the scope begins to where they end now."""

    def __init__(self, client: Any, reach: Reach, scope: Scope, counts: dict[str, int], progress: Progress) -> None:
        self._client = client
        self._reach = reach
        self._scope = scope
        self._counts = counts
        self._progress = progress

    async def texts(
        self,
        kinds: Sequence[str],
        ids: Iterable[str] | None,
        numbers: set[int] | None,
        wanted: Callable[[Found], bool],
    ) -> dict[Place, Found]:
        """The records of these kinds whose bytes hold one of the ids (None: all) and that are wanted."""
        places = [
            (self._scope.prefix + kind, number)
            for kind in kinds
            for number in range(self._counts.get(self._scope.prefix + kind, 0))
            if numbers is None or number in numbers or kind == "policies"
        ]
        ends = await offsets(self._client, self._reach, "end", places)
        starts = await self._starts(places, ends)
        return await self._read(", ".join(kinds), starts, ends, None if ids is None else needles(ids), wanted)

    async def places(self, wanted: set[Place]) -> dict[Place, Found]:
        """The records at these places, as far as they are still there."""
        known = {place for place in wanted if place[1] < self._counts.get(place[0], 0)}
        found: dict[Place, Found] = {}
        for topic, number, position in known:
            starts = await offsets(self._client, self._reach, "start", [(topic, number)])
            ends = await offsets(self._client, self._reach, "end", [(topic, number)])
            if starts[topic, number] <= position < ends[topic, number]:
                at = (topic, number)
                found |= await self._read("inputs", {at: position}, {at: position + 1}, None, lambda _: True)
        return {place: one for place, one in found.items() if place in known}

    async def _starts(self, places: list[Partition], ends: dict[Partition, int]) -> dict[Partition, int]:
        if not self._scope.since_ms:
            return await offsets(self._client, self._reach, "start", places)
        if not places:
            return {}
        asked = {TopicPartition(*place): self._scope.since_ms for place in places}
        found = await within(self._reach.bootstrap, self._client.offsets_for_times(asked))
        return {
            place: ends[place] if (at := found.get(TopicPartition(*place))) is None else at.offset for place in places
        }

    async def _read(
        self,
        what: str,
        starts: dict[Partition, int],
        ends: dict[Partition, int],
        texts: list[bytes] | None,
        wanted: Callable[[Found], bool],
    ) -> dict[Place, Found]:
        total = sum(max(0, ends[place] - start) for place, start in starts.items())
        done, found = 0, {}

        def passed(count: int) -> None:
            nonlocal done
            done += count
            self._progress(what, done, total)

        passed(0)
        with skimming(texts):
            async for records in read(self._client, self._reach, starts, ends, passed):
                for record in records:
                    value = record.value
                    if value is None or (
                        texts is not None and not any(text in (record.key or b"") + value for text in texts)
                    ):
                        continue
                    one = self._found(record)
                    if wanted(one):
                        found[one.place] = one
        return found

    def _found(self, record: Any) -> Found:
        signature = next((value for name, value in record.headers if name == SIGNATURE_HEADER), None)
        return Found(
            record.topic.removeprefix(self._scope.prefix),
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            object_of(record.value) or {},
            None if record.key is None else record.key.decode("utf-8", "replace"),
            signer(signature),
        )


def needles(ids: Iterable[str]) -> list[bytes]:
    """The ids as JSON may spell them, without quotes: as they are, and with escaped slashes; and what begins an escape
    by number, with which a writer may spell any character of it in either case: such a record is parsed to be sure.
    """
    found: dict[bytes, None] = {}
    for one in ids:
        text = json.dumps(one, ensure_ascii=False)[1:-1]
        for spelt in (text, text.replace("/", "\\/")):
            found[spelt.encode("utf-8", "surrogatepass")] = None
    return [*found, ESCAPE]


async def _lost(search: Search) -> str:
    """What was removed before anybody read it, which may have named the id."""
    told = await search.texts(("exceptions", "rejections"), [LOST], None, lambda one: one.body.get("reason") == LOST)
    sources = [one.body["source"] for one in told.values() if isinstance(one.body.get("source"), dict)]
    ranges = [f"{at.get('topic')}/{at.get('partition')} {at.get('offset')} to {at.get('through')}" for at in sources]
    if not ranges:
        return ""
    more = f" and {len(ranges) - LOST_MAX} more" if len(ranges) > LOST_MAX else ""
    return f"; or it was lost: removed before they were read were {', '.join(ranges[:LOST_MAX])}{more}"


def _nothing(scope: Scope, identifier: str) -> str:
    since = " since then (--since)" if scope.since_ms else ""
    return (
        f"no record names {identifier!r:.220}{since} in the topics {scope.prefix}* at {scope.bootstrap}: it is older "
        "than they keep (decisions and commands 7 days, reviews and exceptions 30), under another --prefix, or misspelt"
    )
