"""An audit of a running or a stopped system, in the order that makes its two readings comparable.

First the groups' offsets, then the ends of the outputs, then those of the inputs (successors are both: an answer that
is appended is waited for). So every output that is judged has an input that is read, and every input or request below
its group's offset has its answer within what is read: its transaction was decided before the ends were taken, and the
reader waits for its marker. Whatever happens later is not looked at.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agents.audit.inputs import Inputs, Place
from agents.audit.judge import ROLES, Judge
from agents.audit.lineage import Lineage
from agents.audit.read import STALL_S, Reach, admin, committed, consumer, offsets, partition_counts, read
from agents.audit.report import Result
from streams.errors import ConfigurationError

COMMIT_S = 10
"""The offset's own marker may be written after those of the outputs: so long a lag is waited for, then reported."""


@dataclass(frozen=True)
class Scope:
    """What is audited: the topics under a prefix, and the groups whose progress excuses what is not answered yet.

    `group` is the gate's. `reevaluation_group` answers requests; with only `group` set it is `<prefix>reevaluation`.
    `telling` is given to consumers as `key_deserializer`, so that a batch which cannot be read is a record of its own,
    without key and value: it wants an answer like every other.
    """

    bootstrap: str
    prefix: str
    group: str | None = None
    stall_s: float = STALL_S
    reevaluation_group: str | None = None
    telling: Callable[[bytes], bytes] | None = None

    @property
    def decisions(self) -> str:
        return f"{self.prefix}decisions"

    @property
    def successors(self) -> str:
        return f"{self.prefix}successors"

    @property
    def reevaluations(self) -> str:
        return f"{self.prefix}reevaluations"

    @property
    def answering_group(self) -> str | None:
        """Whose offsets on `reevaluations` say how far requests have been answered; None: all must be."""
        named = self.reevaluation_group
        return f"{self.prefix}reevaluation" if named is None and self.group is not None else named


def no_progress(read_offsets: int, all_offsets: int) -> None:
    """For callers that draw nothing."""


async def audit(scope: Scope, progress: Callable[[int, int], None] = no_progress) -> Result:
    """Reads everything and judges it; `progress` hears how many offsets of how many have been passed."""
    reach = Reach(scope.bootstrap, scope.stall_s, scope.telling)
    roles = {f"{scope.prefix}{role}": role for role in ROLES}
    async with admin(reach) as asker, consumer(reach, "read_committed") as reader:
        rejections = f"{scope.prefix}rejections"
        counts = await partition_counts(asker, reach, [scope.decisions, scope.successors, *roles, rejections])
        if scope.decisions not in counts:
            raise ConfigurationError(
                f"there is no topic {scope.decisions} at {scope.bootstrap}; check --prefix, or create it with "
                "`sluicegate topics apply`"
            )
        refused = [(rejections, number) for number in range(counts.pop(rejections, 0))]
        entries = {topic: count for topic, count in counts.items() if topic not in roles}
        inputs = Inputs(entries, lineage_topic=scope.successors)
        answers = [(topic, number) for topic in counts if topic in roles for number in range(counts[topic])]
        places = list(inputs.partitions)
        requests = [place for place in answers if place[0] == scope.reevaluations]
        before = await committed(asker, reach, scope.group, places) if scope.group is not None else None
        answering = None
        if requests and scope.answering_group is not None:
            answering = await committed(asker, reach, scope.answering_group, requests)
        # the high watermark: what is appended and not yet committed is waited for, not overlooked
        async with consumer(reach, "read_uncommitted") as watcher:
            output_ends = await offsets(watcher, reach, "end", answers + refused)
            successor_ends = await offsets(watcher, reach, "end", [at for at in places if at[0] == scope.successors])
        input_ends = await offsets(reader, reach, "end", places) | successor_ends
        input_starts = await offsets(reader, reach, "start", places)
        output_starts = await offsets(reader, reach, "start", answers + refused)
        passed = _Passed(progress, input_starts | output_starts, input_ends | output_ends)

        lineage = Lineage(
            scope.reevaluations,
            scope.decisions,
            {place[1]: (output_starts[place], output_ends[place]) for place in requests},
        )
        async for records in read(reader, reach, input_starts, input_ends, passed):
            for record in records:
                inputs.add(record)
                if record.topic == scope.successors:
                    lineage.successor(record)
        for place, start in (await offsets(reader, reach, "start", places)).items():
            inputs.partitions[place].log_start = start
        judge = Judge(inputs, lineage, before, scope.decisions)
        others = [place for place in answers if place not in requests]
        for part in (requests, others):
            starts, ends = ({at: edge[at] for at in part} for edge in (output_starts, output_ends))
            async for records in read(reader, reach, starts, ends, passed):
                for record in records:
                    judge.take(roles[record.topic], record)
        for place in refused:
            async for records in read(
                reader, reach, {place: output_starts[place]}, {place: output_ends[place]}, passed
            ):
                for record in records:
                    judge.lost.rejection(record)
        whole = {number: not any(output_starts[at] for at in answers if at[1] == number) for _, number in places}
        judge.lost.finish(input_starts, before, whole)
        judge.lost.finish({at: output_starts[at] for at in requests}, answering, {})
        after = await _caught_up(asker, reach, scope.group, judge) if scope.group is not None else None
        return judge.result(after, answering)


async def _caught_up(asker: Any, reach: Reach, group: str, judge: Judge) -> dict[Place, int]:
    """The group's offsets once they cover every answer that was read, or after a bounded wait."""
    places = list(judge.places)
    end_s = time.monotonic() + COMMIT_S
    while True:
        found = await committed(asker, reach, group, places)
        behind = any(offset >= found.get(place, 0) for place, offset in judge.highest_source.items())
        if not behind or time.monotonic() > end_s:
            return found
        await asyncio.sleep(0.1)


class _Passed:
    """Adds up the offsets that were passed, for a progress bar."""

    def __init__(self, progress: Callable[[int, int], None], starts: dict[Place, int], ends: dict[Place, int]) -> None:
        self._progress = progress
        self._all = sum(max(0, end - starts[place]) for place, end in ends.items())
        self._read = 0
        progress(0, self._all)

    def __call__(self, count: int) -> None:
        self._read += count
        self._progress(self._read, self._all)
