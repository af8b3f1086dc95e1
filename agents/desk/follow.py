"""Brings the store up to the topics: from where it was read to last, to the end as it is now, read_committed.

Whoever looks at reviews does this first, so no process has to run for it. Joins no group.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

from agents.audit.inputs import Place
from agents.audit.read import Reach, admin, consumer, offsets, partition_counts, read, within
from streams.errors import ConfigurationError
from streams.runtime.folders import user_folder
from streams.runtime.store.engine import Damaged, set_aside
from streams.runtime.store.facts import TOPICS, Fact, Read, fact_of
from streams.runtime.store.reviews import Rebuilt, ReviewStore

Progress = Callable[[int, int], None]
WRITE_FACTS, WRITE_S = 1_000, 2.0  # written together: what other writers wait for, and what is read again after a kill
REBUILDS_MAX = 5  # of others in a row, while we follow


def silent(done: int, total: int) -> None:
    """Nobody looks."""


@asynccontextmanager
async def following(bootstrap: str, prefix: str, url: str | None, rebuild: bool = False) -> AsyncIterator[Follower]:
    """A follower of the topics with this prefix, its store open; `rebuild`: the store forgets everything first.

    Without a URL the store is a file of the user's for these topics. Raises BrokerUnreachable, and ConfigurationError
    where there are no such topics, the store cannot be opened, or is made of other topics.
    """
    reach = Reach(bootstrap)
    async with admin(reach) as asker, consumer(reach, "read_committed") as client:
        counts = await partition_counts(asker, reach, [prefix + kind for kind in TOPICS])
        if f"{prefix}reviews" not in counts:
            raise ConfigurationError(
                f"there is no topic {prefix}reviews at {bootstrap}: name the right prefix with --prefix, or create the "
                "topics with `sluicegate topics apply`"
            )
        cluster = str((await within(bootstrap, asker.describe_cluster()))["cluster_id"])
        places = [(prefix + kind, number) for kind in TOPICS for number in range(counts.get(prefix + kind, 0))]
        place = url or default_store(cluster, prefix)
        with closing(emptied(place, cluster, prefix) if rebuild else ReviewStore(place)) as store:
            store.bind(cluster, prefix)
            yield Follower(client, reach, prefix, store, places)


def emptied(url: str, cluster: str, prefix: str) -> ReviewStore:
    """The store, with nothing in it. One that is damaged is set aside and begins as a new file."""
    try:
        store = ReviewStore(url)
    except Damaged:
        set_aside(url)
        store = ReviewStore(url)
    try:
        store.empty(cluster, prefix)
    except Damaged:
        store.close()
        set_aside(url)
        store = ReviewStore(url)
        store.empty(cluster, prefix)
    return store


def default_store(cluster: str, prefix: str) -> str:
    """Where the store is when nobody says: a file of the user's, another one for other topics."""
    folder = user_folder("XDG_DATA_HOME", ".local/share", "name one with --store, such as sqlite:///reviews.db")
    folder /= "sluicegate"
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"reviews-{cluster}-{prefix}")
    return f"sqlite:///{folder / name}db" if name.endswith(".") else f"sqlite:///{folder / name}.db"


class Follower:
    """Reads on whenever it is asked to."""

    def __init__(self, client: Any, reach: Reach, prefix: str, store: ReviewStore, places: list[Place]) -> None:
        self._client = client
        self._reach = reach
        self._prefix = prefix
        self.store = store
        self.lost: list[str] = []  # a sentence for each range that was removed before the store had read it
        self._places = places

    async def catch_up(self, progress: Progress = silent) -> None:
        """Returns when the store holds what could be read when it was called. `progress` hears offsets: done, of all.

        Raises BrokerUnreachable, and ConfigurationError where the store fails or topics were made again.
        """
        for _ in range(REBUILDS_MAX):
            try:
                await self._read_on(progress)
            except Rebuilt:
                continue
            return
        raise ConfigurationError("the store is being rebuilt again and again: find out by whom, and try again")

    async def _read_on(self, progress: Progress) -> None:
        known = self.store.progress()
        ends = await offsets(self._client, self._reach, "end", self._places)
        starts = {place: known.next.get(self._key(place), 0) for place in self._places}
        ahead = next((place for place in self._places if starts[place] > ends[place]), None)
        if ahead is not None:
            raise ConfigurationError(
                f"the store has read {ahead[0]}/{ahead[1]} up to offset {starts[ahead]}, and it ends at {ends[ahead]}: "
                "the topic was made again; use another store, or empty this one with `sluicegate reviews rebuild`"
            )
        waiting = [place for place in self._places if starts[place] < ends[place]]
        if not waiting:
            return
        beginnings = await offsets(self._client, self._reach, "start", waiting)
        self.lost += [
            f"the store had read {place[0]}/{place[1]} up to offset {starts[place]}, and it begins at "
            f"{beginnings[place]}: what was removed in between is not in the store, and `reviews rebuild` cannot bring "
            "it back"
            for place in waiting
            if self._key(place) in known.next and starts[place] < beginnings[place]
        ]
        starts = {place: max(starts[place], beginnings[place]) for place in waiting}
        await self._take(known.generation, starts, {place: ends[place] for place in waiting}, progress)

    async def _take(
        self, generation: int, starts: dict[Place, int], ends: dict[Place, int], progress: Progress
    ) -> None:
        total = sum(max(0, ends[place] - start) for place, start in starts.items())
        done, written_s = 0, time.monotonic()
        facts: list[Fact] = []
        read_to: dict[tuple[str, int], int] = {}

        def passed(count: int) -> None:
            nonlocal done
            done += count
            progress(done, total)

        async for records in read(self._client, self._reach, starts, ends, passed):
            for record in records:
                kind = record.topic.removeprefix(self._prefix)
                found = fact_of(
                    Read(
                        kind,
                        self._prefix,
                        record.partition,
                        record.offset,
                        record.timestamp,
                        record.value,
                        record.headers,
                    )
                )
                if found is not None:
                    facts.append(found)
                read_to[kind, record.partition] = record.offset + 1
            if len(facts) >= WRITE_FACTS or time.monotonic() - written_s > WRITE_S:
                self.store.take(generation, facts, read_to)
                facts, read_to, written_s = [], {}, time.monotonic()
        read_to |= {self._key(place): end for place, end in ends.items()}
        self.store.take(generation, facts, read_to)

    def _key(self, place: Place) -> tuple[str, int]:
        return place[0].removeprefix(self._prefix), place[1]
